"""A primary's hold on the log: what is appended, who holds it, and what is committed.

A third of a reign: ``primary.voting`` decides what may be appended, ``primary.reign`` when it is.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass

from springtide import errors
from springtide.ahead import Ahead
from springtide.primary.bodies import Bodies
from springtide.primary.commits import Commits
from springtide.primary.feed import Progress
from springtide.primary.files import Announced
from springtide.primary.ports import Committed, Disk
from springtide.primary.rounds import Round
from springtide.primary.signal import Signal
from springtide.records import entries
from springtide.records.blobs import Named
from springtide.records.digests import Body
from springtide.records.entries import Entry, EpochStart, Kind
from springtide.records.ids import Member, Tid


async def _from_nobody(names: Sequence[Named]) -> None:
    """There are no others."""


@dataclass(frozen=True, slots=True)
class Settings:
    """Bounds of a reign. Times in seconds."""

    record_bytes_max: int = 128 * 2**20
    transaction_bytes_max: int = 2**30
    #: What all transactions that are not committed yet take of memory together: their records up to some size,
    #: and what is known of each object.
    memory_bytes_max: int = 2**30
    vote_wait_seconds: float = 10.0
    transaction_timeout_seconds: float = 120.0
    #: For how long it is remembered what became of a transaction.
    outcomes_kept_seconds: float = 86400.0
    #: A clock that is further ahead of most members' is not used for tids.
    clock_ahead_max_seconds: float = 60.0
    heartbeat_seconds: float = 0.25
    stall_seconds: float = 1.0
    #: Disk that stays free at every in-sync member, for epoch starts, packs, tails set aside and an operator's repairs.
    min_free_bytes: int = 64 * 2**20
    #: Committed and not yet applied; votes wait above it, so memory stays bounded.
    overlay_bytes_max: int = 256 * 2**20


class Leadership:
    """Invariant: entries are appended in lsn order, and reported committed in the same order."""

    def __init__(
        self,
        disk: Disk,
        me: Member,
        epoch: int,
        uptime: str,
        required: Iterable[frozenset[Member]],
        minimum: int,
        settings: Settings,
        committed: Callable[[Sequence[Committed]], None],
    ) -> None:
        """``committed`` is told of every commit, in order, as it happens."""
        self.disk = disk
        self.me = me
        self.epoch = epoch
        self.settings = settings
        self.followers: dict[Member, Progress] = {}
        #: When the feed of a follower that is not there now was lost.
        self.lost: dict[Member, float] = {}
        #: One event for each follower that is fed: set when there may be something to send.
        self.wakeups: set[asyncio.Event] = set()
        #: Set when the reign must end: by a newer epoch that showed itself, or a failure.
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.changed = Signal()
        self.began = asyncio.get_running_loop().time()
        self.announced = Announced()
        self.bodies = Bodies()
        #: Has others give the files that these repeat, as far as they can. Raises nothing.
        self.borrow: Callable[[Sequence[Named]], Awaitable[None]] = _from_nobody
        self._committed = committed
        #: What broke, if the reign ended because a rule of the protocol does not hold: the node must stop.
        self.failure: errors.OperatorError | None = None
        start = EpochStart(me.node, uptime)
        #: The end of the log, as this reign wrote it.
        self.last = disk.last
        if self.last.epoch >= epoch:
            raise errors.Broken("R6", f"epoch {epoch} would begin in a log that ends at {self.last}")
        self.commits = Commits(self.last.lsn + 1, disk.commit_lsn, required, minimum)
        self.append(Kind.EPOCH, entries.encode_epoch_start(start))

    # -- the log ------------------------------------------------------------------------------

    def append(self, kind: Kind, body: Body, ahead: Ahead | None = None) -> Entry:
        """Continue the log, here and at the followers. ``ahead`` is where the body is, if it went ahead."""
        rest = None if ahead is None else ahead.rest
        entry = entries.following(self.last, self.epoch, kind, body, rest, ahead)
        self.last = entry.point
        synced = asyncio.ensure_future(self.disk.append((entry,)))
        synced.add_done_callback(lambda done: self._synced(entry.lsn, done))
        self.wake()
        return entry

    def _synced(self, lsn: int, done: asyncio.Future[None]) -> None:
        if done.cancelled():
            return
        failure = done.exception()
        if failure is not None:
            self.end(f"the log could not be written: {failure}")
        elif not self.ended.done():
            self.acknowledged(self.me, lsn)

    def end(self, reason: str) -> None:
        """Nothing is committed from here on; whoever runs the reign leaves it."""
        if not self.ended.done():
            self.ended.set_result(reason)
        self.changed.notify()
        self.wake()

    def wake(self) -> None:
        """Let everybody who feeds a follower look again."""
        for event in self.wakeups:
            event.set()

    def broken(self, invariant: str, what: str) -> errors.Broken:
        """End the reign, because a rule does not hold; the error to raise, which also stops the node."""
        error = errors.Broken(invariant, what)
        self._fail(error)
        return error

    def _fail(self, error: errors.OperatorError) -> None:
        self.failure = self.failure or error
        self.end(str(error))

    def acknowledged(self, member: Member, lsn: int) -> None:
        """``member`` has everything up to ``lsn`` on disk."""
        if lsn > self.last.lsn:
            raise self.broken("R3", f"{member} acknowledges {lsn}, and the log ends at {self.last.lsn}")
        if not self.ended.done() and self.commits.acknowledged(member, lsn):
            self._commit()
        else:
            self.changed.notify()

    def require(self, required: Iterable[frozenset[Member]], minimum: int) -> None:
        """From now on commits need the members of all these sets, of which this primary is one."""
        sets = tuple(required)
        if not all(self.me in members for members in sets):
            raise self.broken("R3", f"{self.me} would commit without its own disk")
        self.commits.require(sets, minimum)
        if not self.ended.done() and self.commits.settle():
            self._commit()
        self.changed.notify()

    def _commit(self) -> None:
        try:
            done = self.disk.commit(self.commits.commit)
        except errors.OperatorError as error:
            self._fail(error)
            raise
        self._committed(done)
        self.committed(done)
        self.wake()
        self.changed.notify()

    def committed(self, done: Sequence[Committed]) -> None:
        """What the commit point has just passed."""

    def check_leading(self) -> None:
        """Raises NotPrimary once the reign has ended."""
        if self.ended.done():
            raise errors.NotPrimary(f"this node is no longer the primary: {self.ended.result()}")

    # -- who is there -------------------------------------------------------------------------

    def live(self, member: Member, now: float) -> bool:
        """Whether ``member`` was heard of lately."""
        if member == self.me:
            return True
        progress = self.followers.get(member)
        return progress is not None and now - progress.heard_at < self.settings.stall_seconds

    def drop_follower(self, member: Member) -> None:
        """It must come again to be heard: what it said last does not prove that it is still there."""
        progress = self.followers.pop(member, None)
        if progress is not None:
            progress.superseded = True
            self.wake()

    def obstacle(self, now: float) -> str | None:
        """Why a transaction voted now could not be committed soon, if so."""
        if not self.commits.established:
            return "this primary has just begun and does not hold its whole set yet"
        if len(self.commits.required) < self.commits.minimum:
            return f"only {len(self.commits.required)} of at least {self.commits.minimum} nodes are in sync"
        silent = sorted(str(m.node) for m in self.commits.required if not self.live(m, now))
        if silent:
            return f"nothing is heard of {', '.join(silent)}, which must be in sync; start what is down, and they go on"
        if self.disk.overlay_bytes > self.settings.overlay_bytes_max:
            return "this node's disk is slower than the commits"
        return None

    async def until_open(self, deadline: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            self.check_leading()
            obstacle = self.obstacle(loop.time())
            if obstacle is None:
                return
            left = deadline - loop.time()
            if left <= 0:
                raise errors.BelowMinimum(f"commits wait at node {self.me.node}: {obstacle}")
            try:
                async with asyncio.timeout(min(left, self.settings.heartbeat_seconds)):
                    await self.changed.wait()
            except TimeoutError:
                continue

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait for ``condition``; NotPrimary if the reign ends first."""
        await self.changed.until(lambda: condition() or self.ended.done())
        self.check_leading()

    # -- disks --------------------------------------------------------------------------------

    def check_space(self, under_way: int, size: int, files: int) -> None:
        """Raises NoSpace where an in-sync node has no room for the records under way, ``size`` of them of one
        transaction, and its ``files``."""
        rooms = {str(self.me.node): self.disk.headroom_bytes()}
        rooms |= {
            str(p.member.node): p.headroom_bytes for p in self.followers.values() if p.member in self.commits.required
        }
        for node, room in sorted(rooms.items()):
            to_come = files if node != self.me.node else 0  # here they are already
            if room < self.settings.min_free_bytes + 4 * under_way + to_come:
                raise self.no_space(node, room, size, under_way)

    def no_space(self, node: str, room: int, size: int, under_way: int) -> errors.NoSpace:
        return errors.NoSpace(
            f"the disk of node {node} has {room:,} bytes left, too few for a transaction of {size:,} "
            f"and what else is under way ({under_way:,}), and to keep {self.settings.min_free_bytes:,} free "
            "(min_free_bytes): free space there, then commit again"
        )

    # -- files --------------------------------------------------------------------------------

    async def lacking(self, names: Sequence[Named]) -> Sequence[Named]:
        """Those of these files that are not here. What is to be made from an earlier file that was lost here is
        copied from another node."""
        lacking = await self.disk.blobs.lacking(names)
        repeats = [named for named in lacking if named.data_tid is not None]
        if repeats:
            await self.borrow(repeats)
            lacking = await self.disk.blobs.lacking(names)
        return lacking

    def followers_hold(self, names: Sequence[Named]) -> bool:
        """Whether every in-sync follower has these files. One that is not there cannot, and is waited for."""
        return not self.announced.missing(names, self._required_feeds())

    def followers_have(self, body: bytes) -> bool:
        """Whether every in-sync follower has the body of this id."""
        return not self.bodies.missing(body, self._required_feeds())

    def _required_feeds(self) -> dict[Member, Progress | None]:
        return {m: self.followers.get(m) for m in self.commits.required if m != self.me}

    # -- strict reads -------------------------------------------------------------------------

    async def confirm(self) -> Tid:
        """A commit point that no other primary can have passed when this was called.

        A heartbeat round, begun after the request, over everybody whose vote a successor would need.
        """
        await self.until(lambda: self.commits.established)
        tid = self.disk.commit_tid
        round = Round(sorted(self.commits.required - {self.me}), self.followers)
        self.wake()
        await self.until(lambda: round.answered(self.followers))
        return tid

    def proven_at(self, now: float) -> float:
        """When this primary last had proof that it reigns: everybody whose acknowledgement it needs spoke since."""
        others = self.commits.required - {self.me}
        heard = {m: self.followers[m].heard_at if m in self.followers else self.lost.get(m, self.began) for m in others}
        return min(heard.values(), default=now)

    def confirmed(self) -> None:
        """A follower answered a heartbeat."""
        self.changed.notify()
