"""Packs, one at a time, as entries of the log: what goes is found out first, then taken away in small steps.

What is voted meanwhile is ``sparing``'s, how large the steps are ``pace``'s.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import replace
from typing import Protocol

from springtide import errors
from springtide.primary import retention
from springtide.primary.pace import Pace
from springtide.primary.ports import Disk
from springtide.primary.retention import Policy
from springtide.primary.sparing import Run, began_at, collected, references
from springtide.primary.votes import Ballot
from springtide.records.bitmap import Bitmap
from springtide.records.entries import Entry, Kind
from springtide.records.ids import TID_ZERO, Oid, TransactionId
from springtide.records.packs import Pack, PackBegin, PackEnd, PackStep, encode_pack

log = logging.getLogger(__name__)

#: So many steps in-sync followers may have yet to apply: else they are waited for, after each step so long at most.
STEPS_BEHIND_MAX, BEHIND_SECONDS = 10, 1.0
#: A pack that has ended waits so long for followers to show the same, so that whoever asked for it finds nothing
#: that went, wherever it reads.
FOLLOWERS_SECONDS = 5.0

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
        self._run: Run | None = None
        self._steps: deque[int] = deque()  # the lsns of the last ones
        self._tasks: set[asyncio.Task[None]] = set()

    # -- packing -----------------------------------------------------------------------------------

    async def pack(self, wanted: PackBegin, ask: Ask, report: Report) -> None:
        """Take away what is not ``wanted``, as far as it is committed; all of it is applied here on return.

        Waits while another pack is at work. Raises PackRefused or NotPrimary.
        """
        if self._turn.locked():
            report("waiting for another pack to end", 0, 0)
        async with self._turn:
            await self._finish_former(ask, report)
            disk = self._reign.disk
            point = min(wanted.tid, disk.commit_tid)
            if point == TID_ZERO:
                return  # there is nothing at all
            if point < disk.packed:
                log.info(
                    "nothing is packed to %s: the database was packed to %s already", point.hex(), disk.packed.hex()
                )
                return
            await self._pack(replace(wanted, tid=point), False, ask, report)

    def start(self, wanted: PackBegin, ask: Ask = nobody_knows, report: Report = silent) -> asyncio.Task[None]:
        """``pack`` as a task that ends with the reign, whoever waits for it."""
        return self._begin(self.pack(wanted, ask, report))

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
                    await self.pack(retention.pack(policy, last), nobody_knows, silent)
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
        run, pace, removed = Run(begin), Pace(), 0
        self._run = run
        self._steps.clear()
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
                    await self._say(begin)
                    begun = True
                rest: PackStep | None = step
                while rest is not None:
                    now, rest = rest.cut(pace.revisions)
                    removed += await self._take_away(run, pace, now)
                    report("taking away revisions", removed, 0)
        finally:
            self._run = None
            if marker is not None:
                await marker.close()
            task = asyncio.current_task()
            if begun and task is not None and not task.cancelling():
                await self._say(PackEnd())
                await self._reign.until_followers_applied(self._reign.last_lsn, FOLLOWERS_SECONDS)
        log.info("packed to %s: %d revisions are gone", begin.tid.hex(), removed)

    async def _take_away(self, run: Run, pace: Pace, step: PackStep) -> int:
        """One step, and the rest after it; how many revisions it took."""
        await self._reign.until_appending()
        run.check()
        wanted = run.without_repeated(step)
        loop, disk = asyncio.get_running_loop(), self._reign.disk
        began = loop.time()
        lsn = self._reign.append(Kind.PACK, encode_pack(wanted)).lsn
        await self._reign.until_committed(lsn)
        committed = loop.time()
        await disk.until_applied(lsn)
        applied = loop.time()
        pace.sees(disk.commit_tid, bool(self._reign.ballots()), applied)
        await asyncio.sleep(pace.took(wanted.revisions, committed - began, applied - committed, applied))
        self._steps.append(lsn)
        if len(self._steps) == STEPS_BEHIND_MAX:
            await self._reign.until_followers_applied(self._steps.popleft(), BEHIND_SECONDS)
        return wanted.revisions

    async def _say(self, pack: Pack) -> None:
        """Returns when it is applied here."""
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
        names = await references(ballot)
        run, disk = self._run, self._reign.disk
        if run is not None:
            run.voted(ballot, names, disk.current)
        if names is None or began_at(ballot.id) >= disk.packed:
            return
        # What it saw was true before the last pack. What it stores itself need not be there yet.
        stored = {want.oid for want in ballot.wanted.values()}
        for name in names:
            if name not in stored and disk.current(name) is None:
                raise collected(name)

    async def _look_at_ballots(self, run: Run) -> None:
        """What was voted before counts as if it were voted now: none of it is refused yet."""
        for ballot in self._reign.ballots():
            run.voted(ballot, await references(ballot), self._reign.disk.current)
