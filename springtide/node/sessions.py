"""Clients' sessions: loads, commits and invalidations on one ordered stream each.

The order in which a session's messages are queued is the order in which the
commit point moved here: that, and one writer a session, is what clients build on.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Iterable, Sequence
from contextlib import suppress
from typing import Any

import grpc

from springtide import errors
from springtide.node.answers import invalidations, loaded, to_topology, voted
from springtide.node.core import NodeCore
from springtide.node.stores import Assembly, ticket_of
from springtide.primary.ports import Committed
from springtide.primary.reign import Reign
from springtide.records.ids import TID_ZERO, TRANSACTION_ID_BYTES, Oid, Tid, TransactionId
from springtide.wire import MESSAGE_BYTES_MAX, WIRE_VERSION, status
from springtide.wire.ports import first_of
from springtide.wire.v1 import session_pb2 as pb
from springtide.wire.v1 import session_pb2_grpc

log = logging.getLogger(__name__)

#: A load that this node cannot answer yet waits this long for the commit point, then the client goes elsewhere.
CATCH_UP_SECONDS = 0.5
#: The same for a client that opens a session: after a takeover the new primary needs a moment.
HELLO_SECONDS = 2.0
#: Bytes queued for a client that does not read. Beyond it the session ends; the client
#: comes back and asks for what it missed. A healthy client is behind by a few messages.
QUEUED_BYTES_MAX = 64 * 2**20
#: Answers queued before the session stops reading requests.
PAUSE_BYTES = 8 * 2**20
#: Requests of one session that may wait at the same time.
TASKS_MAX = 1_000


class Sessions(session_pb2_grpc.StorageServicer):
    """All sessions of this node."""

    def __init__(self, core: NodeCore, record_bytes_max: int, transaction_bytes_max: int) -> None:
        self.core = core
        self.limits = pb.Limits(
            record_bytes_max=record_bytes_max,
            transaction_bytes_max=transaction_bytes_max,
            message_bytes_max=MESSAGE_BYTES_MAX,
        )
        self.open: set[Session] = set()
        self.reads_served = 0
        core.on_committed.append(self._committed)
        core.on_topology.append(self._topology)
        core.on_reign_ended.append(self._reign_ended)

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
            session.ended()

    def _committed(self, committed: Sequence[Committed]) -> None:
        for entry in committed:
            if entry.transaction is None:
                continue
            transaction = entry.transaction
            oids = [write.oid for write in transaction.writes]
            messages = invalidations(transaction.tid, oids)
            for session in self.open:
                session.committed(transaction.id, transaction.tid, messages)

    def _topology(self) -> None:
        message = pb.NodeMessage(topology=to_topology(self.core.topology()))
        for session in self.open:
            session.push(message)

    def _reign_ended(self) -> None:
        for session in self.open:
            session.reign_ended()

    async def Iterate(self, request: pb.IterateRequest, context: Any) -> None:
        from springtide.node.iteration import iterate

        await iterate(self.core, request, context)


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
        self._tasks: set[asyncio.Task[None]] = set()
        self._assembly = Assembly()
        self._failed: dict[tuple[TransactionId, int], errors.SpringtideError] = {}
        self._finishing: dict[TransactionId, int] = {}
        self._wants_invalidations = False
        self._live = False
        self._broken: errors.SpringtideError | None = None
        self.client = ""

    # -- the life of a session ------------------------------------------------------------------

    async def run(self) -> None:
        first = await self._context.read()
        if first is grpc.aio.EOF:
            return
        hello = self._check_hello(first)
        await self._core.until_tid(Tid(hello.last_tid or TID_ZERO), HELLO_SECONDS)
        missed = self._welcome(first.request, hello)
        await first_of(self._write(missed), self._read())

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

    def _welcome(self, request: int, hello: pb.SessionHello) -> tuple[Tid, Tid] | None:
        """Register for what is committed from now on; what the client missed before, as (after, through)."""
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
        )
        self.push(pb.NodeMessage(request=request, welcome=welcome), always=True)
        if hello.invalidations and hello.last_tid and hello.last_tid < now:
            return Tid(hello.last_tid), now
        return None

    async def _write(self, missed: tuple[Tid, Tid] | None) -> None:
        await self._flush_one()  # the welcome
        if missed is not None:
            await self._replay(*missed)
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

    async def _replay(self, after: Tid, through: Tid) -> None:
        changes = self._core.disk.changed_since(after)
        while batch := await asyncio.to_thread(_take, changes, 1_000):
            for tid, oids in batch:
                if tid > through:
                    return
                for message in invalidations(tid, oids):
                    await self._context.write(message)

    async def _read(self) -> None:
        while True:
            message = await self._context.read()
            if message is grpc.aio.EOF:
                return
            self._dispatch(message)
            if self._queued_bytes > PAUSE_BYTES:
                self._drained.clear()
                await self._drained.wait()

    async def refuse(self, error: errors.SpringtideError) -> None:
        with suppress(grpc.RpcError, asyncio.InvalidStateError):  # the client may not wait for the reason
            await self._context.write(pb.NodeMessage(error=status.to_wire(error)))

    def ended(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._core.reign is not None:
            self._core.reign.session_ended(self)

    # -- out ------------------------------------------------------------------------------------

    def push(self, message: pb.NodeMessage, always: bool = False) -> None:
        """Queue a message. What was not asked for goes to clients that want invalidations only."""
        if message.request == 0 and not self._wants_invalidations and not always:
            return
        size = message.ByteSize()
        self._queue.append((message, size))
        self._queued_bytes += size
        if self._queued_bytes > QUEUED_BYTES_MAX and self._broken is None:
            self._broken = errors.Stopping(f"client {self.client} does not read what it is sent: it must come back")
        self._wakeup.set()

    def _answer(self, request: int, **body: Any) -> None:
        self.push(pb.NodeMessage(request=request, **body), always=True)

    def _fail(self, request: int, error: Exception) -> None:
        if not isinstance(error, errors.SpringtideError):
            log.exception("request of client %s failed", self.client, exc_info=error)
        self._answer(request, error=status.to_wire(error))

    def committed(self, id: TransactionId, tid: Tid, messages: Iterable[pb.NodeMessage]) -> None:
        request = self._finishing.pop(id, None)
        if request is not None:
            self._answer(request, finished=pb.Finished(tid=tid))
            return
        for message in messages:
            self.push(message)

    def reign_ended(self) -> None:
        finishing, self._finishing = self._finishing, {}
        for request in finishing.values():
            self._fail(request, errors.NotPrimary("the primary changed before the commit was confirmed"))

    # -- in -------------------------------------------------------------------------------------

    def _dispatch(self, message: pb.ClientMessage) -> None:
        request = message.request
        try:
            match message.WhichOneof("body"):
                case "load":
                    load = message.load
                    self._load(request, Tid(load.floor), lambda: self._load_before(request, load))
                case "load_serial":
                    serial = message.load_serial
                    self._load(request, Tid(serial.floor), lambda: self._load_serial(request, serial))
                case "prefetch":
                    many = message.prefetch
                    self._load(request, Tid(many.floor), lambda: self._prefetch(request, many))
                case "stores":
                    self._stores(message.stores)
                case "vote":
                    self._start(request, self._vote(request, message.vote))
                case "finish":
                    self._finish(request, message.finish)
                case "abort":
                    self._abort(request, message.abort)
                case "ask_outcome":
                    self._start(request, self._outcome(request, message.ask_outcome))
                case "new_oids":
                    self._start(request, self._oids(request, message.new_oids.count))
                case "info":
                    self._info(request)
                case "sync":
                    self._start(request, self._sync(request, message.sync.strict))
                case other:
                    raise errors.BadRequest(f"request {request} is of a kind this node does not know ({other})")
        except Exception as error:
            self._fail(request, error)

    def _start(self, request: int, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= TASKS_MAX:
            work.close()
            raise errors.BadRequest(f"this session has {TASKS_MAX} requests waiting already")
        task = asyncio.ensure_future(self._guard(request, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, request: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._fail(request, error)

    # -- reads ----------------------------------------------------------------------------------

    def _load(self, request: int, floor: Tid, answer: Callable[[], None]) -> None:
        if floor <= self._core.disk.commit_tid and self._core.disk.complete:
            answer()
        else:
            self._start(request, self._load_later(floor, answer))

    async def _load_later(self, floor: Tid, answer: Callable[[], None]) -> None:
        await self._core.until_tid(floor, CATCH_UP_SECONDS)
        answer()

    def _load_before(self, request: int, load: pb.Load) -> None:
        self._sessions.reads_served += 1
        oid = Oid(load.oid)
        for part in loaded(oid, self._core.disk.load_before(oid, Tid(load.before))):
            self._answer(request, loaded=part)

    def _load_serial(self, request: int, load: pb.LoadSerial) -> None:
        self._sessions.reads_served += 1
        oid = Oid(load.oid)
        for part in loaded(oid, self._core.disk.load_serial(oid, Tid(load.tid))):
            self._answer(request, loaded=part)

    def _prefetch(self, request: int, many: pb.Prefetch) -> None:
        for name in many.oids:
            self._sessions.reads_served += 1
            for part in loaded(Oid(name), self._core.disk.load_before(Oid(name), Tid(many.before))):
                self._answer(request, loaded=part)
        self._answer(request, done=pb.Done())

    def _info(self, request: int) -> None:
        disk = self._core.disk
        answer = pb.InfoAnswer(objects=disk.object_count(), bytes=disk.size_bytes(), last_tid=disk.commit_tid)
        self._answer(request, info=answer)

    async def _sync(self, request: int, strict: bool) -> None:
        tid = await self._reign().confirm() if strict else self._core.disk.commit_tid
        self._answer(request, synced=pb.Synced(last_tid=tid))

    # -- commits --------------------------------------------------------------------------------

    def _reign(self) -> Reign:
        reign = self._core.reign
        if reign is None:
            raise self._core.not_primary()
        return reign

    def _stores(self, stores: pb.Stores) -> None:
        """Errors wait for the vote: stores are not answered."""
        key = (_transaction_id(stores.transaction), stores.attempt)
        if key in self._failed:
            return
        try:
            self._reign().collect(*key, self, self._assembly.add(key, stores.writes))
        except errors.SpringtideError as error:
            self._failed[key] = error

    async def _vote(self, request: int, vote: pb.Vote) -> None:
        id = _transaction_id(vote.transaction)
        failed = self._failed.pop((id, vote.attempt), None)
        self._assembly.forget((id, vote.attempt))
        if failed is not None:
            raise failed
        answer = await self._reign().vote(id, vote.attempt, self, ticket_of(vote), vote.writes)
        self._answer(request, voted=voted(answer, self._core.disk))

    def _finish(self, request: int, finish: pb.Finish) -> None:
        id = _transaction_id(finish.transaction)
        self._finishing[id] = request
        try:
            self._reign().finish(id, finish.attempt, finish.epoch)
        except BaseException:
            self._finishing.pop(id, None)
            raise

    def _abort(self, request: int, abort: pb.Abort) -> None:
        id = _transaction_id(abort.transaction)
        self._failed.pop((id, abort.attempt), None)
        self._assembly.forget((id, abort.attempt))
        if self._core.reign is not None:
            self._core.reign.abort(id, abort.attempt)
        if request:
            self._answer(request, done=pb.Done())

    async def _outcome(self, request: int, ask: pb.AskOutcome) -> None:
        tid = await self._reign().outcome(_transaction_id(ask.transaction), ask.attempt, ask.epoch)
        if tid is None:
            answer = pb.Outcome(result=pb.Outcome.RESULT_NEVER)
        else:
            answer = pb.Outcome(result=pb.Outcome.RESULT_COMMITTED, tid=tid)
        self._answer(request, outcome=answer)

    async def _oids(self, request: int, count: int) -> None:
        if not 0 < count <= 100_000:
            raise errors.BadRequest(f"oids are given out 1 to 100,000 at a time, not {count}")
        given = await self._reign().oids(count)
        self._answer(request, oids=pb.Oids(first=given.first, count=given.count))


def _transaction_id(data: bytes) -> TransactionId:
    if len(data) != TRANSACTION_ID_BYTES:
        raise errors.BadRequest(f"a transaction id has {TRANSACTION_ID_BYTES} bytes, not {len(data)}")
    return TransactionId(data)


def _take(changes: Any, count: int) -> list[tuple[Tid, Sequence[Oid]]]:
    taken = []
    for change in changes:
        taken.append(change)
        if len(taken) >= count:
            break
    return taken
