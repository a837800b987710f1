"""Who may go on: locks of objects, taken in sorted order so that nobody waits in a circle.

Pure. A write excludes everybody else, read checks share. Owners wait in the order
in which they came; a share waits behind a waiting writer, so writers do not starve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum


class Mode(Enum):
    SHARE = "share"
    EXCLUDE = "exclude"


@dataclass(slots=True)
class _Claim:
    wants: list[tuple[bytes, Mode]]
    held: int = 0  # how many of ``wants``, from the front


class Locks:
    """Invariant: an owner holds a prefix of its sorted wants, and waits for the next one only.

    A lock that nobody waits for is one entry of one dictionary: transactions of
    hundreds of thousands of objects are held without an object for each.
    """

    def __init__(self) -> None:
        self._excluding: dict[bytes, Hashable] = {}
        self._sharing: dict[bytes, set[Hashable]] = {}
        self._waiting: dict[bytes, deque[Hashable]] = {}
        self._claims: dict[Hashable, _Claim] = {}

    def take(self, owner: Hashable, wants: Mapping[bytes, Mode]) -> bool:
        """Claim ``wants``; True when all of them are held at once, False when ``owner`` has to wait."""
        assert owner not in self._claims, "an owner claims once"
        claim = self._claims[owner] = _Claim(sorted(wants.items(), key=lambda want: want[0]))
        return self._advance(owner, claim)

    def release(self, owner: Hashable) -> list[Hashable]:
        """Give back what ``owner`` holds or waits for; the owners that now hold all they want."""
        claim = self._claims.pop(owner, None)
        if claim is None:
            return []
        contended = []
        if claim.held < len(claim.wants):
            name = claim.wants[claim.held][0]
            self._waiting[name].remove(owner)
            contended.append(name)
        for name, mode in claim.wants[: claim.held]:
            self._give_back(owner, name, mode)
            if name in self._waiting:
                contended.append(name)
        return self._wake(contended)

    def holds(self, name: bytes) -> bool:
        """Whether anybody holds ``name``."""
        return name in self._excluding or name in self._sharing

    def __len__(self) -> int:
        """How many names are held or waited for."""
        return len(self._excluding.keys() | self._sharing.keys() | self._waiting.keys())

    def _give_back(self, owner: Hashable, name: bytes, mode: Mode) -> None:
        if mode is Mode.EXCLUDE:
            del self._excluding[name]
            return
        sharing = self._sharing[name]
        sharing.discard(owner)
        if not sharing:
            del self._sharing[name]

    def _wake(self, names: Iterable[bytes]) -> list[Hashable]:
        complete = []
        for name in names:
            waiting = self._waiting[name]
            while waiting and self._grant(name, waiting[0], self._next_mode(waiting[0])):
                owner = waiting.popleft()
                claim = self._claims[owner]
                claim.held += 1
                if self._advance(owner, claim):
                    complete.append(owner)
            if not waiting:
                del self._waiting[name]
        return complete

    def _next_mode(self, owner: Hashable) -> Mode:
        claim = self._claims[owner]
        return claim.wants[claim.held][1]

    def _advance(self, owner: Hashable, claim: _Claim) -> bool:
        while claim.held < len(claim.wants):
            name, mode = claim.wants[claim.held]
            if name in self._waiting or not self._grant(name, owner, mode):
                self._waiting.setdefault(name, deque()).append(owner)
                return False
            claim.held += 1
        return True

    def _grant(self, name: bytes, owner: Hashable, mode: Mode) -> bool:
        if name in self._excluding or (mode is Mode.EXCLUDE and name in self._sharing):
            return False
        if mode is Mode.EXCLUDE:
            self._excluding[name] = owner
        else:
            self._sharing.setdefault(name, set()).add(owner)
        return True
