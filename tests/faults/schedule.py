"""Which faults come next, from a seed: every kind about as often as any other, several at a time where they may be.

Pure.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random


@dataclass(frozen=True, slots=True)
class Round:
    """Faults that overlap, each begun so many seconds after the one before, and for how long all last then."""

    faults: tuple[tuple[float, str], ...]
    seconds: float


class Schedule:
    def __init__(self, chance: Random, kinds: Sequence[str], alone: Sequence[str]) -> None:
        """``alone`` are those beside which nothing else may happen: what they destroy others must hold."""
        self._chance = chance
        self._kinds = sorted(kinds)
        self._alone = frozenset(alone)
        self._deck: list[str] = []

    def next(self) -> Round:
        faults = [self._draw()]
        while faults[0] not in self._alone and len(faults) < 3 and self._chance.random() < 0.55:
            together = [kind for kind in self._deck if kind not in self._alone and kind not in faults]
            if not together:
                break
            kind = together[0]
            self._deck.remove(kind)
            faults.append(kind)
        gaps = [0.0, *(self._chance.uniform(0.0, 1.0) for _ in faults[1:])]
        return Round(tuple(zip(gaps, faults, strict=True)), self._chance.choice((0.3, 1.0, 2.0, 3.0, 4.5)))

    def _draw(self) -> str:
        if not self._deck:
            self._deck = list(self._kinds)
            self._chance.shuffle(self._deck)
        return self._deck.pop()
