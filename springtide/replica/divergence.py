"""Where do this node's history and the primary's part?

Pure. Keeps rule R8. Two logs with equal chain digests at one lsn are equal up to it, so the last
common entry is found by bisection: the follower asks whether the primary's log
contains one of its own points, and halves the doubt with every answer. Lengths,
tids and the follower's own commit point decide nothing: each of them was wrong in
some system before this one (the seven cases stand in ``tests/unit/replica``).

What is committed here is part of every later history. If the primary lacks it,
the two contradict each other; nothing is cut, and an operator must look.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from springtide.records.position import ORIGIN, Point


class Log(Protocol):
    """What a follower knows about its own log."""

    @property
    def last(self) -> Point: ...

    @property
    def oldest(self) -> Point: ...

    @property
    def durable(self) -> int: ...

    @property
    def commit_lsn(self) -> int: ...

    def point(self, lsn: int, /) -> Point | None: ...


@dataclass(frozen=True, slots=True)
class Ask:
    """Not known yet: does the primary's log contain this point?"""

    at: Point


@dataclass(frozen=True, slots=True)
class Common:
    """The histories agree up to here. Whatever follows it in this log, the primary does not have."""

    at: Point


@dataclass(frozen=True, slots=True)
class TooFarBehind:
    """The histories part before the primary's log begins: only a snapshot helps."""

    oldest: Point


@dataclass(frozen=True, slots=True)
class Contradicts:
    """This point is committed here, and the primary's history does not contain it."""

    committed: Point


@dataclass(frozen=True, slots=True)
class Search:
    """A bisection under way.

    Invariant: the histories agree at ``low`` (if ``sure``; else this node believes so
    because it is committed here), and differ at every lsn from ``high`` on.
    """

    log: Log
    low: Point
    sure: bool
    high: int
    asked: Point | None = None

    def step(self) -> tuple[Search, Ask | Common | Contradicts]:
        """What to ask or to conclude now, and the search that waits for the answer."""
        if self.high == self.low.lsn:
            return self, Contradicts(self.low)
        if self.high == self.low.lsn + 1 and self.sure:
            return self, Common(self.low)
        at = self._next()
        return replace(self, asked=at), Ask(at)

    def found(self) -> Search:
        assert self.asked is not None, "an answer follows a question"
        return replace(self, low=self.asked, sure=True, asked=None)

    def missing(self) -> Search:
        assert self.asked is not None, "an answer follows a question"
        return replace(self, high=self.asked.lsn, asked=None)

    def _next(self) -> Point:
        if self.high == self.low.lsn + 1:
            return self.low
        return _own(self.log, (self.low.lsn + self.high) // 2)


def compare(log: Log, last: Point, oldest: Point) -> tuple[Search | None, Ask | Common | TooFarBehind | Contradicts]:
    """Begin to compare ``log`` with a primary's, which ends at ``last`` and can be continued from ``oldest``."""
    floor = _own(log, max(log.commit_lsn, log.oldest.lsn))
    if floor.lsn > last.lsn:
        return None, Contradicts(floor)
    if log.last.lsn < oldest.lsn:
        return None, TooFarBehind(oldest)
    low, sure = floor, floor == ORIGIN
    if floor.lsn <= oldest.lsn:
        if _own(log, oldest.lsn) != oldest:
            return None, Contradicts(floor) if floor.lsn == oldest.lsn else TooFarBehind(oldest)
        low, sure = oldest, True
    return _top(log, last, low, sure)


def _top(log: Log, last: Point, low: Point, sure: bool) -> tuple[Search | None, Ask | Common | Contradicts]:
    """Look at the ends first: mostly one log is a prefix of the other."""
    if log.last.lsn >= last.lsn:
        if _own(log, last.lsn) == last:
            return None, Common(last)
        return Search(log, low, sure, last.lsn).step()
    if log.last == low and sure:
        return None, Common(low)
    search = Search(log, low, sure, log.last.lsn + 1, asked=log.last)
    return search, Ask(log.last)


def _own(log: Log, lsn: int) -> Point:
    point = log.point(lsn)
    assert point is not None, f"the log keeps {log.oldest.lsn} to {log.last.lsn}, not {lsn}"
    return point
