"""Which changes count as one: those at or below a pack point that were missed.

Pure. Of what lies there, a pack takes revisions away that others followed. Who was away meanwhile is told all objects
that have changed, but not every transaction that changed them: no state between the beginning and the pack point can be
shown, and it is not known until when what was current at the beginning was. At the end both are known again.
"""

from __future__ import annotations

from springtide.records.ids import Oid, Tid


class Leap:
    """Invariant: ``oids`` are all objects that changed after the leap began, through ``through``."""

    def __init__(self, seen: Tid, packed: Tid) -> None:
        assert seen < packed, "what was missed lies above the pack point"
        self.through = seen
        self.packed = packed
        self.oids: set[Oid] = set()

    def further(self, packed: Tid) -> None:
        """Another pack has begun meanwhile."""
        self.packed = max(self.packed, packed)

    def add(self, tid: Tid, oids: tuple[Oid, ...]) -> bool:
        """The next transaction that is told; whether the leap ends with it."""
        self.through = tid
        self.oids.update(oids)
        return tid >= self.packed
