"""What a pack takes away from a simulated node: the real ``engine.marking``, asked about a state in memory."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence

from springtide.engine.marking import Marking
from springtide.primary.packing import Ask, Marker, OpenMarker, Report
from springtide.records.bitmap import Bitmap
from springtide.records.entries import Write
from springtide.records.ids import Oid, Tid
from springtide.records.packs import PackBegin, PackStep
from springtide.testing.simulator.state import State

#: Transactions of one step: few, so that packs are interrupted.
STEP = 3
STEP_SECONDS = 0.05


class _Source:
    """``engine.marking.Source`` over a state as it was when the pack began to look."""

    def __init__(self, state: State) -> None:
        self._revisions = {oid: dict(revisions) for oid, revisions in state.revisions.items()}
        self._wrote: dict[Tid, list[Oid]] = {tid: [] for tid in state.transactions}
        for oid, revisions in sorted(self._revisions.items()):
            for tid in revisions:
                self._wrote.setdefault(tid, []).append(oid)

    def transactions(self, after: Tid, through: Tid) -> Iterator[tuple[Tid, Sequence[Oid]]]:
        # One that has lost all it wrote is not an empty one: it is left out.
        for tid in sorted(self._wrote):
            if after < tid <= through and self._wrote[tid]:
                yield tid, self._wrote[tid]

    def write(self, oid: Oid, tid: Tid) -> Write | None:
        data = self._revisions.get(oid, {}).get(tid)
        return Write(oid, data) if data is not None else None

    def current(self, oid: Oid, through: Tid) -> tuple[Tid, bool] | None:
        tid = max((tid for tid in self._revisions.get(oid, {}) if tid <= through), default=None)
        return (tid, self._revisions[oid][tid] is not None) if tid is not None else None

    def tids(self, oid: Oid) -> list[Tid]:
        return sorted(self._revisions.get(oid, {}), reverse=True)

    def oldest(self) -> Iterator[tuple[Oid, Tid]]:
        yield from ((oid, min(revisions)) for oid, revisions in self._revisions.items())


def _none(write: Write) -> Iterable[Oid]:
    return ()


class SimMarker:
    """Without garbage collection: the records of the simulator refer to nothing."""

    def __init__(self, state: State, begin: PackBegin) -> None:
        self._marking = Marking(_Source(state), begin, _none)

    async def doomed(self) -> Bitmap:
        await asyncio.sleep(STEP_SECONDS)
        self._marking.mark()
        return self._marking.doomed()

    async def spare(self, oids: Bitmap) -> Bitmap:
        raise AssertionError("nothing is doomed without garbage collection")

    async def steps(self) -> AsyncIterator[PackStep]:
        found = list(self._marking.removals())
        for at in range(0, len(found), STEP):
            await asyncio.sleep(STEP_SECONDS)
            yield PackStep(tuple(found[at : at + STEP]))

    async def close(self) -> None:
        """Nothing is held."""


def opens(applied: Callable[[], State]) -> OpenMarker:
    """As ``NodeCore.open_marker`` wants it; ``applied`` gives the state on the disk."""

    async def open_marker(begin: PackBegin, ask: Ask, report: Report) -> Marker:
        return SimMarker(applied(), begin)

    return open_marker
