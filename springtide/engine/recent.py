"""The end of the log in memory: for the feed, and to know what was appended and is not yet synced.

Owned by the loop.
"""

from __future__ import annotations

from collections.abc import Sequence

from springtide import errors
from springtide.records.entries import Entry
from springtide.records.position import Point


class Recent:
    """Invariant: ``entries`` are contiguous and end at ``last``; those above ``durable`` are all here."""

    def __init__(self, last: Point, bytes_max: int) -> None:
        self._bytes_max = bytes_max
        self.reset(last)

    def reset(self, last: Point) -> None:
        """Nothing in memory; everything up to ``last`` is synced."""
        self.last = last
        self.durable = last.lsn
        self._first = last.lsn + 1
        self._entries: dict[int, Entry] = {}
        self._bytes = 0

    def append(self, entries: Sequence[Entry]) -> None:
        lsn, epoch = self.last.lsn, self.last.epoch
        for entry in entries:
            if entry.lsn != lsn + 1 or entry.epoch < epoch:
                raise errors.Broken("I2", f"entry {entry.point} would follow {epoch}/{lsn} in the log")
            lsn, epoch = entry.lsn, entry.epoch
        for entry in entries:
            self._entries[entry.lsn] = entry
            self._bytes += len(entry.body)
            self.last = entry.point

    def synced(self, lsn: int) -> None:
        self.durable = lsn
        while self._bytes > self._bytes_max and self._first <= lsn:
            self._bytes -= len(self._entries.pop(self._first).body)
            self._first += 1

    def cut(self, keep: Point) -> None:
        """What follows ``keep`` is no more."""
        for lsn in range(max(keep.lsn + 1, self._first), self.last.lsn + 1):
            self._bytes -= len(self._entries.pop(lsn).body)
        self._first = min(self._first, keep.lsn + 1)
        self.last = keep
        self.durable = min(self.durable, keep.lsn)

    def get(self, lsn: int) -> Entry | None:
        return self._entries.get(lsn)

    def read(self, after: int, bytes_max: int) -> tuple[Entry, ...] | None:
        """Entries that follow ``after``, at least one where any exists; None if the first is not in memory."""
        if after >= self.last.lsn:
            return ()
        if after + 1 < self._first:
            return None
        found: list[Entry] = []
        size = 0
        for lsn in range(after + 1, self.last.lsn + 1):
            entry = self._entries[lsn]
            size += len(entry.body)
            if found and size > bytes_max:
                break
            found.append(entry)
        return tuple(found)
