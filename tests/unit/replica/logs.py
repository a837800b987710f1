"""A log in memory, as a follower sees its own and a primary its own."""

from __future__ import annotations

from collections.abc import Sequence

from springtide.primary.feed import answer_probe
from springtide.records import feed
from springtide.records.entries import Entry
from springtide.records.position import ORIGIN, Point
from tests.unit.build import history


class Log:
    def __init__(self, entries: Sequence[Entry] | str = (), commit: int = 0, trimmed: int = 0) -> None:
        """``trimmed`` is how many of the oldest entries are no longer kept."""
        self.entries = history(entries) if isinstance(entries, str) else list(entries)
        self.points = [ORIGIN, *(entry.point for entry in self.entries)]
        self.trimmed = trimmed
        self.commit_lsn = commit
        self.durable = self.last.lsn

    @property
    def last(self) -> Point:
        return self.points[-1]

    @property
    def oldest(self) -> Point:
        return self.points[self.trimmed]

    def point(self, lsn: int) -> Point | None:
        return self.points[lsn] if self.trimmed <= lsn < len(self.points) else None

    def answer(self, probe: Point) -> feed.Downward:
        return answer_probe(feed.Probe(probe), self.point(probe.lsn), self.oldest)
