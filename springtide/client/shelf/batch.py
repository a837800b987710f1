"""What one process brings to the shelf next: changes it was told, records it saw.

Pure, and without a lock: the keeper has one. Invariants: ``changes`` are all changes after
``since`` up to ``through``, in order; a revision in here that is OPEN is current at ``through``.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from springtide.client.messages import Purged
from springtide.client.shelf.rows import Known
from springtide.records.ids import TID_ZERO, Oid, Tid

#: Bytes that wait to be written: a burst beyond it is not kept. Oids of changes that wait: 15 MB or so.
BYTES_MAX, OIDS_MAX = 32 * 2**20, 200_000
#: What a revision takes besides its record, roughly.
ITEM_BYTES = 400


@dataclass(slots=True)
class Item:
    data: bytes
    known: Known
    at: Tid = TID_ZERO


@dataclass(frozen=True, slots=True)
class Change:
    """A transaction, or, ``leapt``, several whose tids are not known but for the last one's."""

    tid: Tid
    oids: Sequence[Oid]
    leapt: bool = False


class Batch:
    def __init__(self, since: Tid, packs: int) -> None:
        self.since = self.through = since
        #: Every pack after the first of these, up to the second, is in ``purges``.
        self.packs_since = self.packs = packs
        self.changes: list[Change] = []
        self.purges: list[Purged] = []
        self.bytes = 0
        self.oids = 0
        self._items: dict[Oid, dict[Tid, Item]] = {}

    def __bool__(self) -> bool:
        """Whether there is anything to write."""
        return bool(self.changes or self.purges or self._items)

    @property
    def full(self) -> bool:
        """Whether more changes should wait, where they can."""
        return self.oids >= OIDS_MAX

    def items(self) -> Iterator[tuple[Oid, Tid, Item]]:
        for oid, revisions in self._items.items():
            for tid, item in revisions.items():
                yield oid, tid, item

    def add(self, oid: Oid, tid: Tid, data: bytes, known: Known, at: Tid = TID_ZERO) -> None:
        """A revision, and what is known of it now that everything through ``through`` is."""
        revisions = self._items.setdefault(oid, {})
        item = revisions.get(tid)
        if item is None:
            if self.bytes + len(data) > BYTES_MAX:
                if not revisions:
                    del self._items[oid]
                return
            self.bytes += len(data) + ITEM_BYTES
            revisions[tid] = Item(data, known, at)
        elif _better(known, at, item):
            item.known, item.at = known, at

    def change(self, change: Change) -> None:
        """What changed next."""
        if change.tid <= self.through:
            return
        if self.full:
            self.skip()
        self.changes.append(change)
        self.oids += len(change.oids) + 1
        for oid in change.oids:
            for written, item in self._items.get(oid, {}).items():
                if item.known is Known.OPEN and written < change.tid:
                    ended = (Known.BOUNDED, self.through) if change.leapt else (Known.ENDED, change.tid)
                    item.known, item.at = ended
        self.through = change.tid

    def purge(self, purged: Purged) -> None:
        """What a pack did next."""
        if purged.packs <= self.packs:
            return
        if self.full:
            self.skip(purged.packs)
        self.packs = purged.packs
        self.purges.append(purged)
        self.oids += len(purged.oids) + 1
        for oid in purged.oids:
            for item in self._items.pop(oid, {}).values():
                self.bytes -= len(item.data) + ITEM_BYTES
        if purged.superseded > TID_ZERO:
            self._forget_superseded(purged.superseded)

    def _forget_superseded(self, through: Tid) -> None:
        for oid, tid, item in list(self.items()):
            if item.known is Known.ENDED and item.at <= through:
                self.bytes -= len(item.data) + ITEM_BYTES
                del self._items[oid][tid]
                if not self._items[oid]:
                    del self._items[oid]

    def skip(self, packs: int | None = None) -> None:
        """What happened since ``since`` is not kept here any more, nor, with ``packs``, what went until then."""
        for _, _, item in self.items():
            if item.known is Known.OPEN:
                item.known, item.at = Known.BOUNDED, self.through
        self.changes.clear()
        self.purges.clear()
        self.oids = 0
        self.since = self.through
        self.packs_since = self.packs = max(self.packs, packs or 0)
        if packs is not None:  # what these items are may have been taken away
            self._items.clear()
            self.bytes = 0


def _better(known: Known, at: Tid, item: Item) -> bool:
    if item.known is Known.BOUNDED:
        return known is not Known.BOUNDED or at > item.at
    return known is Known.ENDED and item.known is Known.OPEN
