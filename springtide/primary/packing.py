"""Packs, one at a time, as entries of the log: what goes is found out first, then taken away in small steps.

While it is found out, what is voted may refer to objects that nothing referred to: they are spared. From the
moment at which it is settled what goes, such a vote is refused, because what such an object
refers to may be gone already.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable, Sequence
from typing import Protocol

from springtide import errors
from springtide.engine.references import Unreadable, references_of
from springtide.primary import retention
from springtide.primary.conflicts import Intent
from springtide.primary.ports import Disk
from springtide.primary.retention import Policy
from springtide.primary.spooled import Spooled
from springtide.primary.votes import Ballot
from springtide.records.bitmap import Bitmap
from springtide.records.entries import Entry, Kind, Write
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId, number
from springtide.records.packs import Pack, PackBegin, PackEnd, PackStep, encode_pack

log = logging.getLogger(__name__)

#: After each step, so many times as long as it took to apply belongs to commits, at least and at most so long.
#: Followers apply within this time, and commits wait for their disks, too.
REST_FACTOR, REST_SECONDS_MIN, REST_SECONDS_MAX = 5.0, 0.01, 1.0
#: A pack that has ended waits so long for followers to show the same, so that whoever asked for it finds nothing
#: that went, wherever it reads.
FOLLOWERS_SECONDS = 5.0
#: Larger transactions are looked through outside the event loop.
_WRITES_ON_LOOP_MAX = 100

#: Told what is being done, how much of it has been, and of how much (0: not known).
Report = Callable[[str, int, int], None]
#: What records refer to that cannot be read here. Raises PackRefused where nobody knows.
Ask = Callable[[Sequence[tuple[Oid, bytes]]], Awaitable[Sequence[Sequence[Oid]]]]


class Marker(Protocol):
    """Finds out what a pack takes away from what is applied."""

    async def doomed(self) -> Bitmap: ...
    async def spare(self, oids: Bitmap) -> Bitmap: ...
    def steps(self) -> AsyncIterator[PackStep]: ...
    async def close(self) -> None: ...


OpenMarker = Callable[[PackBegin, Ask, Report], Awaitable[Marker]]


class Reign(Protocol):
    """What a pack needs of its reign."""

    @property
    def disk(self) -> Disk: ...
    @property
    def last_lsn(self) -> int: ...
    def append(self, kind: Kind, body: bytes) -> Entry: ...
    def check_leading(self) -> None: ...
    async def until_committed(self, lsn: int) -> None: ...
    async def until_appending(self) -> None: ...
    async def until_followers_applied(self, lsn: int, seconds: float) -> None: ...
    def ballots(self) -> list[Ballot]:
        """What has been voted and is not in the log."""


async def nobody_knows(records: Sequence[tuple[Oid, bytes]]) -> Sequence[Sequence[Oid]]:
    name, _ = records[0]
    raise errors.PackRefused(
        f"what the record of oid {name.hex()} refers to cannot be known here, so nothing was deleted: pack from the "
        "application, with the wrapper that transforms its records, or without garbage collection (gc=False)"
    )


def silent(doing: str, done: int, total: int) -> None:
    """Reports to nobody."""


class Packing:
    def __init__(self, reign: Reign, open_marker: OpenMarker | None) -> None:
        """Without ``open_marker`` every pack is refused."""
        self._reign = reign
        self._open_marker = open_marker
        self._turn = asyncio.Lock()
        self._run: _Run | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    # -- packing -----------------------------------------------------------------------------------

    async def pack(self, tid: Tid, gc: bool, keep_revisions: int, ask: Ask, report: Report) -> None:
        """Take away what is not needed to read snapshots from ``tid`` on; all of it is applied here on return.

        Waits while another pack is at work. Raises PackRefused or NotPrimary.
        """
        if self._turn.locked():
            report("waiting for another pack to end", 0, 0)
        async with self._turn:
            await self._finish_former(ask, report)
            disk = self._reign.disk
            point = min(tid, disk.commit_tid)
            if point == TID_ZERO:
                return  # there is nothing at all
            if point < disk.packed:
                log.info(
                    "nothing is packed to %s: the database was packed to %s already", point.hex(), disk.packed.hex()
                )
                return
            await self._pack(PackBegin(point, gc, keep_revisions), False, ask, report)

    def start(
        self, tid: Tid, gc: bool, keep_revisions: int, ask: Ask = nobody_knows, report: Report = silent
    ) -> asyncio.Task[None]:
        """``pack`` as a task that ends with the reign, whoever waits for it."""
        return self._begin(self.pack(tid, gc, keep_revisions, ask, report))

    def start_resuming(self) -> None:
        self._begin(self.resume())

    def start_retaining(self, policy: Policy, wall: Callable[[], float]) -> None:
        """Pack by itself from now on. ``wall`` gives seconds since 1970."""
        self._begin(self._retain(policy, wall))

    async def _retain(self, policy: Policy, wall: Callable[[], float]) -> None:
        last: float | None = None
        while True:
            await asyncio.sleep(retention.pause_seconds(policy))
            if retention.is_due(policy, wall(), self._reign.disk.packed, last):
                last = wall()
                try:
                    point = retention.point(policy, last)
                    await self.pack(point, policy.gc, policy.keep_revisions, nobody_knows, silent)
                except errors.PackRefused as error:
                    log.warning("packing as the configuration says is refused: %s", error)

    def _begin(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            log.info("a pack ended: %s", task.exception())

    async def end(self) -> None:
        """The reign is over."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def resume(self) -> None:
        """End what a former primary began."""
        async with self._turn:
            await self._reign.until_committed(self._reign.last_lsn)
            await self._finish_former(nobody_knows, silent)

    async def _finish_former(self, ask: Ask, report: Report) -> None:
        disk = self._reign.disk
        await self._reign.until_committed(self._reign.last_lsn)
        await disk.until_applied(self._reign.disk.commit_lsn)
        if disk.packing is not None:
            log.info("going on with a pack that was begun before")
            try:
                await self._pack(disk.packing, True, ask, report)
            except errors.PackRefused as error:
                log.warning("a pack that was begun before ends here, not all went that could: %s", error)

    async def _pack(self, begin: PackBegin, begun: bool, ask: Ask, report: Report) -> None:
        if self._open_marker is None:
            raise errors.PackRefused("this node cannot pack")
        run, removed = _Run(begin), 0
        self._run = run
        marker: Marker | None = None
        try:
            await self._look_at_ballots(run)
            await self._done(self._reign.last_lsn)
            marker = await self._open_marker(begin, ask, report)
            doomed = await marker.doomed()
            while hit := run.hit(doomed):
                doomed = await marker.spare(hit)
            run.settle(doomed)
            async for step in marker.steps():
                if not begun:
                    await self._append(begin)
                    begun = True
                removed += await self._take_away(run, step)
                report("taking away revisions", removed, 0)
        finally:
            self._run = None
            if marker is not None:
                await marker.close()
            task = asyncio.current_task()
            if begun and task is not None and not task.cancelling():
                await self._append(PackEnd())
                await self._reign.until_followers_applied(self._reign.last_lsn, FOLLOWERS_SECONDS)
        log.info("packed to %s: %d revisions are gone", begin.tid.hex(), removed)

    async def _take_away(self, run: _Run, step: PackStep) -> int:
        run.check()
        wanted = run.without_repeated(step)
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._append(wanted)
        await asyncio.sleep(min(REST_SECONDS_MAX, max(REST_SECONDS_MIN, REST_FACTOR * (loop.time() - began))))
        return wanted.revisions

    async def _append(self, pack: Pack) -> None:
        """Returns when it is applied here: steps wait for each other."""
        await self._reign.until_appending()
        await self._done(self._reign.append(Kind.PACK, encode_pack(pack)).lsn)

    async def _done(self, lsn: int) -> None:
        await self._reign.until_committed(lsn)
        await self._reign.disk.until_applied(lsn)

    # -- votes meanwhile -----------------------------------------------------------------------------

    def concerns(self, id: TransactionId) -> bool:
        """Whether a transaction's references must be checked before its vote is answered."""
        return self._run is not None or began_at(id) < self._reign.disk.packed

    async def check(self, ballot: Ballot) -> None:
        """Raises Collected where ``ballot`` refers to an object that a pack has taken away, or is about to."""
        names = await _references(ballot)
        run, disk = self._run, self._reign.disk
        if run is not None:
            run.voted(ballot, names, disk.current)
        if names is None or began_at(ballot.id) >= disk.packed:
            return
        # What it saw was true before the last pack. What it stores itself need not be there yet.
        stored = {want.oid for want in ballot.wanted.values()}
        for name in names:
            if name not in stored and disk.current(name) is None:
                raise _collected(name)

    async def _look_at_ballots(self, run: _Run) -> None:
        """What was voted before counts as if it were voted now: none of it is refused yet."""
        for ballot in self._reign.ballots():
            run.voted(ballot, await _references(ballot), self._reign.disk.current)


class _Run:
    """One pack at work. ``doomed`` is None until it is settled what goes."""

    def __init__(self, begin: PackBegin) -> None:
        self._begin = begin
        self._referenced = Bitmap()
        self._repeated: set[tuple[Oid, Tid]] = set()
        self._doomed: Bitmap | None = None
        self._refusal: errors.PackRefused | None = None

    def voted(self, ballot: Ballot, names: Iterable[Oid] | None, current: Callable[[Oid], Tid | None]) -> None:
        """Raises Collected where what goes is settled, and the ballot refers to it."""
        for want in ballot.wanted.values():
            if want.data_tid is not None:
                self._repeated.add((want.oid, want.data_tid))
        if not self._begin.gc:
            return
        if names is None:
            self._refusal = errors.PackRefused(
                f"transaction {ballot.id.hex()} stores records of which it cannot be known what they refer to: "
                "pack without garbage collection (gc=False), or have the application's wrapper say the references"
            )
        elif self._doomed is None:
            for name in names:
                self._referenced.add(number(name))
        else:
            stored = {want.oid for want in ballot.wanted.values() if want.intent is not Intent.CHECK}
            for name in names:
                if number(name) in self._doomed and name not in stored and not self._is_new(name, current):
                    raise _collected(name)

    def _is_new(self, name: Oid, current: Callable[[Oid], Tid | None]) -> bool:
        """What was stored after the point to pack to stays, and what it refers to."""
        tid = current(name)
        return tid is not None and tid > self._begin.tid

    def hit(self, doomed: Bitmap) -> Bitmap | None:
        """What would go although something voted meanwhile refers to it."""
        self.check()
        found = self._referenced.both(doomed)
        return found if len(found) else None

    def settle(self, doomed: Bitmap) -> None:
        self._doomed = doomed

    def check(self) -> None:
        if self._refusal is not None:
            raise self._refusal

    def without_repeated(self, step: PackStep) -> PackStep:
        """What is repeated by something voted meanwhile stays."""
        if not self._repeated:
            return step
        kept = []
        for tid, oids in step.removed:
            left = tuple(name for name in oids if (name, tid) not in self._repeated)
            if left or not oids:
                kept.append((tid, left))
        return PackStep(tuple(kept))


def began_at(id: TransactionId) -> Tid:
    """The last tid that the client had seen when it began."""
    return Tid(id[16:])


def _collected(name: Oid) -> errors.Collected:
    return errors.Collected(
        f"the transaction refers to the object {name.hex()}, to which nothing referred any more, and which a pack has "
        "taken away: repeat the transaction from what is stored now"
    )


async def _references(ballot: Ballot) -> set[Oid] | None:
    """What the records of ``ballot`` refer to; None: that cannot be known."""
    if ballot.file is None and len(ballot.wanted) <= _WRITES_ON_LOOP_MAX:
        return _all_references(ballot)
    return await asyncio.to_thread(_all_references, ballot)


def _all_references(ballot: Ballot) -> set[Oid] | None:
    writes: Iterable[Write]
    if isinstance(ballot.file, Spooled):
        writes = ballot.file.writes()
    else:
        writes = [want.write() for want in ballot.wanted.values() if want.intent is not Intent.CHECK]
    try:
        return {name for write in writes for name in references_of(write)}
    except Unreadable:
        return None
