"""Clients' sessions: loads, commits and invalidations on one ordered stream each.

The order in which a session's messages are queued is the order in which the
commit point moved here: that, and one writer a session, is what clients build on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from itertools import chain, takewhile
from typing import Any, NamedTuple

import grpc

from springtide import errors
from springtide.engine import BlobStore
from springtide.engine.sweeping import Swept
from springtide.node.answers import invalidations, missed, missed_purges, none_without_its_purge, purged, to_topology
from springtide.node.core import NodeCore
from springtide.node.files import Files
from springtide.node.iteration import iterate
from springtide.node.requests import Requests
from springtide.primary.ports import Committed
from springtide.records.ids import TID_ZERO, Tid, TransactionId
from springtide.records.packed import oids_of
from springtide.wire import WIRE_VERSION, status
from springtide.wire.ports import first_of
from springtide.wire.v1 import session_pb2 as pb
from springtide.wire.v1 import session_pb2_grpc

log = logging.getLogger(__name__)

#: How long a client that opens a session waits for this node to catch up with it: after a takeover
#: the new primary needs a moment.
HELLO_SECONDS = 2.0
#: What a client gets to take in what was queued for it, when its session is ended here.
LAST_WORDS_SECONDS = 0.5
#: Bytes queued for a client that does not read. Beyond it the session ends; the client
#: comes back and asks for what it missed. A healthy client is behind by a few messages.
QUEUED_BYTES_MAX = 64 * 2**20
#: Answers queued before the session stops reading requests.
PAUSE_BYTES = 8 * 2**20


class Sessions(session_pb2_grpc.StorageServicer):
    """All sessions of this node."""

    def __init__(self, core: NodeCore, blobs: BlobStore, limits: pb.Limits) -> None:
        self.core = core
        self.files = Files(core, blobs, limits.blob_bytes_max)
        self.limits = limits
        self.open: set[Session] = set()
        self.reads_served = 0
        core.on_committed.append(self._committed)
        core.on_topology.append(self._topology)
        core.on_reign_ended.append(self._reign_ended)
        core.on_copy.append(self._copy)

    async def Session(self, request_iterator: Any, context: Any) -> None:
        session = Session(self, context)
        try:
            await session.run()
        except errors.SpringtideError as error:
            await session.refuse(error)
        except (grpc.RpcError, asyncio.InvalidStateError):
            pass  # the client is gone
        finally:
            self.open.discard(session)
            session.requests.end()

    def _committed(self, committed: Sequence[Committed]) -> None:
        for entry in committed if self.open else ():
            if entry.transaction is None:
                continue
            transaction = entry.transaction
            oids = oids_of(transaction.writes)
            messages = invalidations(transaction.tid, oids)
            for session in self.open:
                session.committed(transaction.id, transaction.tid, messages)

    def swept(self, swept: Swept) -> None:
        """A pack has changed something here."""
        for message in purged(swept.packs, swept.gone, swept.superseded) if self.open else ():
            for session in self.open:
                session.push(message)

    def _topology(self) -> None:
        message = pb.NodeMessage(topology=to_topology(self.core.topology()))
        for session in self.open:
            session.push(message)

    def _copy(self) -> None:
        """The database is copied anew: what is told after that would leave a gap."""
        for session in self.open:
            session.end(errors.Stopping(f"node {self.core.node} copies the database anew"))

    def _reign_ended(self) -> None:
        for session in self.open:
            session.requests.reign_ended()

    def stop(self) -> None:
        """The node stops: clients are told, and go elsewhere at once."""
        for session in self.open:
            session.end(errors.Stopping(f"node {self.core.node} is stopping"))

    async def StoreBlob(self, request_iterator: Any, context: Any) -> pb.BlobStored:
        return await self.files.store(context)

    async def FetchBlob(self, request: pb.FetchBlobRequest, context: Any) -> None:
        await self.files.fetch(request, context)

    async def Iterate(self, request: pb.IterateRequest, context: Any) -> None:
        await iterate(self.core, request, context)


class _Away(NamedTuple):
    """What a client knew when it came: everything through ``after``, and of packs; and what it is told is new to it."""

    after: Tid
    through: Tid
    packed: Tid
    packs: int
    packs_now: int


class Session:
    """One client's stream, from hello to end."""

    def __init__(self, sessions: Sessions, context: Any) -> None:
        self._sessions = sessions
        self._core = sessions.core
        self._context = context
        self._queue: deque[tuple[pb.NodeMessage, int]] = deque()
        self._queued_bytes = 0
        self._wakeup = asyncio.Event()
        self._drained = asyncio.Event()
        self._ending = asyncio.Event()
        self._wants_invalidations = False
        self._broken: errors.SpringtideError | None = None
        self.client = ""
        self.requests = Requests(self._core, self, self, sessions.limits.record_bytes_max, sessions.files.forget)

    # -- the life of a session ------------------------------------------------------------------

    async def run(self) -> None:
        first = await self._context.read()
        if first is grpc.aio.EOF:
            return
        hello = self._check_hello(first)
        await self._core.until_tid(Tid(hello.last_tid or TID_ZERO), HELLO_SECONDS)
        away = self._welcome(first.request, hello)
        await first_of(self._write(away), self._read(), self._until_broken())

    def _check_hello(self, first: pb.ClientMessage) -> pb.SessionHello:
        if first.WhichOneof("body") != "hello":
            raise errors.BadRequest("a session begins with hello")
        hello = first.hello
        if hello.wire_version != WIRE_VERSION:
            raise errors.WrongVersion(
                f"the client speaks wire version {hello.wire_version}, node {self._core.node} speaks {WIRE_VERSION}: "
                "upgrade the older of the two"
            )
        cluster = self._core.cluster
        if hello.cluster and cluster and hello.cluster != cluster:
            raise errors.WrongCluster(
                f"node {self._core.node} is of cluster {cluster}, the client of {hello.cluster}: check the addresses"
            )
        self.client = hello.client
        return hello

    def _welcome(self, request: int, hello: pb.SessionHello) -> _Away | None:
        """Register for what is committed from now on. Returns what the client missed before."""
        core, now = self._core, self._core.disk.commit_tid
        self._sessions.open.add(self)
        self._wants_invalidations = hello.invalidations
        welcome = pb.SessionWelcome(
            wire_version=WIRE_VERSION,
            cluster=core.cluster,
            history=core.history,
            node=core.node,
            last_tid=now,
            topology=to_topology(core.topology()),
            limits=self._sessions.limits,
            packs=core.disk.packs,
            packed=core.disk.packed,
        )
        self.push(pb.NodeMessage(request=request, welcome=welcome), always=True)
        if hello.invalidations and hello.last_tid:
            return _Away(Tid(hello.last_tid), now, core.disk.packed, hello.packs, core.disk.packs)
        return None

    async def _write(self, away: _Away | None) -> None:
        await self._flush_one()  # the welcome
        if away is not None:
            await self._replay(away)
        while True:
            while self._queue:
                await self._flush_one()
            if self._broken is not None:
                raise self._broken
            self._wakeup.clear()
            self._drained.set()
            await self._wakeup.wait()

    async def _flush_one(self) -> None:
        message, size = self._queue.popleft()
        await self._context.write(message)
        self._queued_bytes -= size
        if self._queued_bytes < PAUSE_BYTES:
            self._drained.set()

    async def _replay(self, away: _Away) -> None:
        """Everything the client missed, however much: a message at a time is made, and waits until it is taken."""
        disk = self._core.disk
        changes = takewhile(lambda change: change[0] <= away.through, disk.changed_since(away.after))
        messages = chain(
            missed_purges(disk.gone_since(away.packs), away.packs, away.packs_now, away.packed),
            none_without_its_purge(missed(changes), disk.gone_since, away.packs_now),
        )
        while (message := await asyncio.to_thread(next, messages, None)) is not None:
            # The client has been told below which pack point not every change is named.
            if disk.packed != away.packed:
                raise errors.Stopping(f"node {self._core.node} packs: the client must ask again for what it missed")
            await self._context.write(message)

    async def _read(self) -> None:
        while True:
            message = await self._context.read()
            if message is grpc.aio.EOF:
                return
            self.requests.take(message)
            if self.requests.overflowing is not None:
                await self.requests.spool()
            if self._queued_bytes > PAUSE_BYTES:
                self._drained.clear()
                await self._drained.wait()

    async def refuse(self, error: errors.SpringtideError) -> None:
        with suppress(grpc.RpcError, asyncio.InvalidStateError, TimeoutError):  # the client may not wait for the reason
            async with asyncio.timeout(LAST_WORDS_SECONDS):
                await self._context.write(pb.NodeMessage(error=status.to_wire(error)))

    # -- out ------------------------------------------------------------------------------------

    def push(self, message: pb.NodeMessage, always: bool = False) -> None:
        """Queue a message. What was not asked for goes to clients that want invalidations only."""
        if message.request == 0 and not self._wants_invalidations and not always:
            return
        if self._broken is not None:
            return
        size = message.ByteSize()
        self._queue.append((message, size))
        self._queued_bytes += size
        if self._queued_bytes > QUEUED_BYTES_MAX and self._broken is None:
            self.end(errors.Stopping(f"client {self.client} does not read what it is sent: it must come back"))
        self._wakeup.set()

    def end(self, why: errors.SpringtideError) -> None:
        """Send what is queued if the client takes it, say why, end."""
        self._broken = self._broken or why
        self._ending.set()
        self._wakeup.set()

    async def _until_broken(self) -> None:
        """Ends a session also where the client takes nothing."""
        await self._ending.wait()
        await asyncio.sleep(LAST_WORDS_SECONDS)
        assert self._broken is not None
        raise self._broken

    def answer(self, request: int, **body: Any) -> None:
        self.push(pb.NodeMessage(request=request, **body), always=True)

    def served(self, reads: int) -> None:
        self._sessions.reads_served += reads

    def committed(self, id: TransactionId, tid: Tid, messages: Iterable[pb.NodeMessage]) -> None:
        """A transaction is committed: this client's own is answered, others' are invalidations."""
        if not self.requests.finished(id, tid):
            for message in messages:
                self.push(message)
