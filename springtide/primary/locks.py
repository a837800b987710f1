"""Who may go on: locks of objects, taken in sorted order so that nobody waits in a circle.

Pure. A write excludes everybody else, read checks share. Owners wait in the order
in which they came; a share waits behind a waiting writer, so writers do not starve.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum


class Mode(Enum):
    SHARE = "share"
    EXCLUDE = "exclude"


@dataclass(slots=True)
class _Lock:
    mode: Mode | None = None
    holders: set[Hashable] = field(default_factory=set)
    waiting: deque[Hashable] = field(default_factory=deque)


@dataclass(slots=True)
class _Claim:
    wants: list[tuple[bytes, Mode]]
    held: int = 0  # how many of ``wants``, from the front


class Locks:
    """Invariant: an owner holds a prefix of its sorted wants, and waits for the next one only."""

    def __init__(self) -> None:
        self._locks: dict[bytes, _Lock] = {}
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
        freed = [name for name, _ in claim.wants[: claim.held]]
        if claim.held < len(claim.wants):
            name = claim.wants[claim.held][0]
            self._locks[name].waiting.remove(owner)
            freed.append(name)
        for name, _ in claim.wants[: claim.held]:
            lock = self._locks[name]
            lock.holders.discard(owner)
            if not lock.holders:
                lock.mode = None
        return self._wake(freed)

    def holds(self, name: bytes) -> bool:
        """Whether anybody holds ``name``."""
        lock = self._locks.get(name)
        return lock is not None and lock.mode is not None

    def _wake(self, names: Iterable[bytes]) -> list[Hashable]:
        complete = []
        for name in names:
            lock = self._locks[name]
            while lock.waiting and self._grant(lock, lock.waiting[0], self._next_mode(lock.waiting[0])):
                owner = lock.waiting.popleft()
                claim = self._claims[owner]
                claim.held += 1
                if self._advance(owner, claim):
                    complete.append(owner)
            if lock.mode is None and not lock.waiting:
                del self._locks[name]
        return complete

    def _next_mode(self, owner: Hashable) -> Mode:
        claim = self._claims[owner]
        return claim.wants[claim.held][1]

    def _advance(self, owner: Hashable, claim: _Claim) -> bool:
        while claim.held < len(claim.wants):
            name, mode = claim.wants[claim.held]
            lock = self._locks.setdefault(name, _Lock())
            if lock.waiting or not self._grant(lock, owner, mode):
                lock.waiting.append(owner)
                return False
            claim.held += 1
        return True

    @staticmethod
    def _grant(lock: _Lock, owner: Hashable, mode: Mode) -> bool:
        if lock.mode is None or (lock.mode is Mode.SHARE and mode is Mode.SHARE):
            lock.mode = mode
            lock.holders.add(owner)
            return True
        return False
