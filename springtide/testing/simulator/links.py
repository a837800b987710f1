"""What becomes of what one host says to another: it takes time, overtakes, is lost, or waits for a cut to end."""

from __future__ import annotations

import random
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Speed:
    latency_seconds: float = 0.001
    jitter_seconds: float = 0.004
    #: Now and then a message takes this much longer.
    hiccup_seconds: float = 0.3
    hiccup_chance: float = 0.01


class Link:
    """One direction between two hosts. Faults that overlap add up; each ends by itself."""

    __slots__ = ("_random", "_speed", "cuts", "lost_chance", "shuffle_seconds", "slow_seconds", "twice_chance")

    def __init__(self, speed: Speed, rnd: random.Random) -> None:
        self._speed = speed
        self._random = rnd
        self.mend()

    def mend(self) -> None:
        self.cuts = 0
        #: What is lost: a call or its answer; of a stream all that follows, too, and the stream breaks.
        self.lost_chance = 0.0
        #: Everything takes up to this much longer.
        self.slow_seconds = 0.0
        #: Calls take up to this much longer, so that they overtake each other.
        self.shuffle_seconds = 0.0
        #: Calls are heard twice.
        self.twice_chance = 0.0

    def latency(self) -> float:
        speed, rnd = self._speed, self._random.random
        seconds = speed.latency_seconds + rnd() * speed.jitter_seconds
        if speed.hiccup_chance and rnd() < speed.hiccup_chance:
            seconds += rnd() * speed.hiccup_seconds
        if self.slow_seconds:
            seconds += rnd() * self.slow_seconds
        return seconds

    def latency_of_call(self) -> float:
        return self.latency() + (self._random.random() * self.shuffle_seconds if self.shuffle_seconds else 0.0)

    def loses(self) -> bool:
        return self.lost_chance > 0 and self._random.random() < self.lost_chance

    def repeats(self) -> bool:
        return self.twice_chance > 0 and self._random.random() < self.twice_chance
