"""What votes and a pack do to each other.

While it is found out what goes, what is voted may refer to objects that nothing referred to: they are spared. From
the moment at which it is settled what goes, such a vote is refused: what such an object refers to may be gone already.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from springtide import errors
from springtide.engine.references import Unreadable, references_of
from springtide.primary.conflicts import Intent
from springtide.primary.spooled import Spooled
from springtide.primary.votes import Ballot
from springtide.records.bitmap import Bitmap
from springtide.records.entries import Write
from springtide.records.ids import Oid, Tid, TransactionId, number
from springtide.records.packs import PackBegin, PackStep

#: Larger transactions are looked through outside the event loop.
_WRITES_ON_LOOP_MAX = 100


class Run:
    """One pack at work, as votes see it. ``doomed`` is None until it is settled what goes."""

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
                    raise collected(name)

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


def collected(name: Oid) -> errors.Collected:
    return errors.Collected(
        f"the transaction refers to the object {name.hex()}, to which nothing referred any more, and which a pack has "
        "taken away: repeat the transaction from what is stored now"
    )


async def references(ballot: Ballot) -> set[Oid] | None:
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
