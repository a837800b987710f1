"""Numbers are appended to lists. Some lists are only read, and some of those must still be current at the commit."""

from __future__ import annotations

from random import Random
from typing import Any

from BTrees.IOBTree import IOBTree
from persistent import Persistent

from springtide.testing.recording.session import Session

#: Few at a time, so that transactions meet.
_USED_AT_ONCE = 5
#: A list is left when it has so many: each reading of it is written down whole.
_LENGTH_MAX = 40
_LISTS = 500


class Numbers(Persistent):  # type: ignore[misc]
    def __init__(self) -> None:
        self.values: tuple[int, ...] = ()


class Lists:
    def __init__(self, number: int, chance: Random) -> None:
        self._chance = chance
        self._number = number * 10**9
        self._first = 0

    @classmethod
    def set_up(cls, root: Any) -> None:
        root["lists"] = IOBTree({number: Numbers() for number in range(_LISTS)})

    def attempt(self, session: Session) -> dict[str, Any]:
        lists = session.root["lists"]
        while self._first < _LISTS - _USED_AT_ONCE and len(lists[self._first].values) >= _LENGTH_MAX:
            self._first += 1
        names = self._chance.sample(range(self._first, self._first + _USED_AT_ONCE), self._chance.randint(1, 3))
        read = {name: session.read(lists[name]) for name in names}
        work: dict[str, Any] = {"kind": "append", "reads": {}, "appends": [], "covered": []}
        written = [name for name in names if self._chance.random() < 0.5]
        for name, numbers in read.items():
            work["reads"][str(name)] = numbers.values
            if name in written:
                for _ in range(self._chance.choice((1, 1, 1, 2))):
                    self._number += 1
                    numbers.values += (self._number,)
                    work["appends"].append((str(name), self._number))
            elif written and self._chance.random() < 0.5:
                session.check(numbers)
                work["covered"].append(str(name))
        return work
