"""Follow one primary from connect to end: perform what the follower decides.

Appends are begun in order and several are under way at once; their ends are
acknowledged in order. A slow disk or a slow state stops the reading of the stream,
so what waits in memory is bounded and the primary sees that this node is behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, ClassVar

from springtide import errors
from springtide.records.ahead import Ahead
from springtide.records.entries import Entry, Malformed
from springtide.records.feed import Downward, Heartbeat, Upward, Welcome
from springtide.records.ids import Member
from springtide.replica.changes import to_the_end
from springtide.replica.effects import Adopt, Append, CommitTo, Cut, Effect, Fetch, Leave, Promise, Send, Settle, Why
from springtide.replica.files import Fetching
from springtide.replica.follower import Follower
from springtide.replica.limits import Limits
from springtide.replica.outbox import Full, Outbox
from springtide.replica.phases import Status
from springtide.replica.ports import Engine, Observer, Peers, Settling, Silent
from springtide.wire.ports import Duplex

log = logging.getLogger(__name__)

#: Between looks at a log that is still being written. A sync takes less than that.
SETTLING_SECONDS = 0.01


async def follow(
    engine: Engine,
    peers: Peers,
    address: str,
    me: Member,
    uptime: str,
    cluster: str,
    expected_epoch: int,
    *,
    electable: bool = True,
    observer: Observer | None = None,
    limits: Limits | None = None,
    wall: Callable[[], float] = lambda: 0.0,
) -> Leave:
    """Follow the primary at ``address`` until the feed ends, and say why it did.

    ``expected_epoch`` is the epoch in the record: a primary of an older one was deposed. ``wall`` is this node's clock.
    Raises ``errors.Damaged`` when the histories contradict each other, and what the engine raises.
    Ending it (by cancellation, too) is how a candidate stops acknowledging.
    """
    if engine.importing is not None:
        return Leave(Why.SNAPSHOT, f"a copy that was begun at {engine.importing.base} is not finished")
    await settled(engine)
    subscription = Subscription(
        engine, me, uptime, cluster, expected_epoch, electable, observer or Silent(), limits or Limits(), wall
    )
    leave = await subscription.run(peers, address)
    if leave.why is Why.CONTRADICTION:
        raise errors.Damaged(leave.detail)
    return leave


async def settled(engine: Settling) -> None:
    """Wait for what a former role of this node still appends: where the log ends must be known first."""
    while engine.durable < engine.last.lsn:
        await asyncio.sleep(SETTLING_SECONDS)


class _Left(Exception):
    def __init__(self, leave: Leave) -> None:
        super().__init__(leave.detail)
        self.leave = leave


class Subscription:
    """One feed. Use ``follow`` unless acknowledgements must stop while the stream stays open."""

    #: What decides. The simulator puts faulty ones here, to see that they are found out.
    machine: ClassVar[type[Follower]] = Follower

    def __init__(
        self,
        engine: Engine,
        me: Member,
        uptime: str,
        cluster: str,
        expected_epoch: int,
        electable: bool,
        observer: Observer,
        limits: Limits,
        wall: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._wall = wall
        self._engine = engine
        self._cluster = cluster
        self._observer = observer
        self._limits = limits
        self._follower = self._decider(me, uptime, cluster, expected_epoch, electable)
        self._appends: deque[asyncio.Task[None]] = deque()
        self._append_bytes = 0
        self._settling: set[asyncio.Task[None]] = set()
        self._outbox = Outbox(limits.unsent_max)
        self._progress = asyncio.Event()
        self._leave: asyncio.Future[Leave] = asyncio.get_running_loop().create_future()

    def _decider(self, me: Member, uptime: str, cluster: str, expected: int, electable: bool) -> Follower:
        identity = self._engine.identity
        return self.machine(
            me,
            uptime,
            cluster,
            joined=(identity.cluster, identity.history),
            promised=identity.promised,
            expected=expected,
            log=self._engine,
            status=self._status(),
            electable=electable,
        )

    def stop_acknowledging(self) -> None:
        self._follower.stop_acknowledging()
        self._outbox.clear()

    async def run(self, peers: Peers, address: str) -> Leave:
        self._fetching = Fetching(self._engine.blobs, peers, address, self._cluster, self._held, self._not_held)
        try:
            async with asyncio.timeout(self._limits.silence_seconds) as connecting:
                async with peers.feed(address) as stream:
                    connecting.reschedule(None)
                    return await self._converse(stream)
        except (errors.Unreachable, TimeoutError) as error:
            return Leave(Why.LOST, str(error) or f"{address} does not answer")

    async def _converse(self, stream: Duplex[Upward, Downward]) -> Leave:
        task: asyncio.Task[None] | None = None
        tasks = [asyncio.create_task(self._outbox.send(stream)), asyncio.create_task(self._receive(stream))]
        ends: list[asyncio.Future[Any]] = [*tasks, self._leave]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            if self._leave.done():
                return self._leave.result()
            for task in tasks:
                if task.done():
                    task.result()
            return Leave(Why.LOST, "the primary ended the stream")
        except _Left as left:
            return left.leave
        finally:
            for task in (*tasks, *self._settling):
                task.cancel()
            stream.close()
            # What was handed to the log is in the log: whoever acts next must find it settled.
            self._leave.cancel()
            await self._fetching.end()
            await asyncio.gather(*tasks, *self._appends, *self._settling, self._leave, return_exceptions=True)
            # An error of theirs refers to this frame, and its frames to what had come of an entry: no circles.
            tasks.clear()
            ends.clear()
            task = None

    # -- down ------------------------------------------------------------------------------------

    async def _receive(self, stream: Duplex[Upward, Downward]) -> None:
        await self._perform(self._follower.begin())
        while (message := await self._next(stream)) is not None:
            self._observer.heard(asyncio.get_running_loop().time())
            self._follower.status(self._status())
            await self._perform(self._follower.promised(self._engine.identity.promised))
            await self._perform(self._follower.receive(message))
            if isinstance(message, Heartbeat):
                self._observer.proven(asyncio.get_running_loop().time() - message.age)
            if isinstance(message, Welcome):
                self._observer.welcome(message.epoch, message.primary, message.uptime)
            await self._wait_for_room()

    async def _next(self, stream: Duplex[Upward, Downward]) -> Downward | None:
        try:
            async with asyncio.timeout(self._limits.silence_seconds):
                return await stream.receive()
        except TimeoutError:
            raise errors.Unreachable(f"the primary was silent for {self._limits.silence_seconds} s") from None

    async def _perform(self, effects: Iterable[Effect]) -> None:
        for effect in effects:
            match effect:
                case Promise(epoch=epoch):
                    await to_the_end(self._engine.promise(epoch))
                case Cut(keep=keep):
                    await to_the_end(self._engine.cut(keep))
                case Adopt(cluster=cluster, history=history):
                    await to_the_end(self._engine.adopt(cluster, history))
                case _:
                    self._perform_now(effect)

    def _perform_now(self, effect: Effect) -> None:
        match effect:
            case Send(message=message):
                try:
                    self._outbox.put(message)
                except Full as full:
                    raise _Left(Leave(Why.LOST, str(full))) from None
            case Append(entries=entries):
                self._append(entries)
            case Fetch(names=names):
                self._fetching.begin(names)
            case Settle(body=body):
                self._settling.add(task := asyncio.create_task(self._settle(body)))
                task.add_done_callback(self._settling.discard)
            case CommitTo(lsn=lsn):
                self._observer.committed(self._engine.commit(lsn), lsn)
            case Leave():
                raise _Left(effect)
            case _:
                raise AssertionError(f"{effect} takes time, and nothing waits for it here")

    async def _wait_for_room(self) -> None:
        while self._append_bytes + self._follower.waiting_bytes > self._limits.append_bytes_max:
            self._progress.clear()
            await self._progress.wait()
        while self._engine.overlay_bytes > self._limits.overlay_bytes_max:
            await self._engine.until_applied(self._engine.applied + 1)

    # -- the log ---------------------------------------------------------------------------------

    def _append(self, entries: tuple[Entry, ...]) -> None:
        size = sum(entry.memory_bytes for entry in entries)
        synced = self._engine.append(entries)  # queued by the call, in order
        self._append_bytes += size
        self._appends.append(asyncio.create_task(self._until_durable(synced, entries[-1].lsn, size)))

    async def _until_durable(self, synced: Awaitable[None], lsn: int, size: int) -> None:
        try:
            await synced
            self._durable(lsn)
        except _Left as left:
            self._end(left.leave)
        except Exception as error:
            if not self._leave.done():
                self._leave.set_exception(error)
        finally:
            self._append_bytes -= size
            self._progress.set()
            while self._appends and self._appends[0].done():
                self._appends.popleft()

    def _durable(self, lsn: int) -> None:
        self._follower.status(self._status())
        for effect in self._follower.promised(self._engine.identity.promised):
            self._perform_now(effect)
        for effect in self._follower.durable(lsn):
            self._perform_now(effect)

    def _status(self) -> Status:
        return Status(self._engine.applied, self._engine.headroom_bytes(), self._engine.complete, self._wall())

    def _end(self, leave: Leave) -> None:
        if not self._leave.done():
            self._leave.set_result(leave)

    async def _settle(self, body: Ahead) -> None:
        """Bodies come ahead so that nothing waits for them: this waits for the disk beside the stream."""
        try:
            await asyncio.to_thread(body.settle)
        except (Malformed, errors.NoSpace) as error:
            log.warning("a large transaction cannot be taken in before its vote: %s", error)  # which fails, then
        except Exception as error:
            if not self._leave.done():
                self._leave.set_exception(error)
        else:
            self._perform_later(self._follower.settled(body.id))

    # -- files -----------------------------------------------------------------------------------

    def _held(self, id: bytes) -> None:
        self._perform_later(self._follower.held(id))

    def _not_held(self, id: bytes, error: Exception) -> None:
        log.warning("blob %s could not be fetched from the primary: %s", id.hex(), error)
        why = Why.LOST if isinstance(error, errors.Unreachable) else Why.FAULTY
        self._perform_later(self._follower.not_held(id, why, str(error)))

    def _perform_later(self, effects: Iterable[Effect]) -> None:
        """What follows from something that happened beside the stream."""
        try:
            for effect in effects:
                self._perform_now(effect)
        except _Left as left:
            self._end(left.leave)
        except Exception as error:
            if not self._leave.done():
                self._leave.set_exception(error)
        self._progress.set()
