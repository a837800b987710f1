"""Where chance comes from: one stream of numbers per thing, all from the seed.

Two things that happen at one instant draw from streams of their own, so their
order (which may depend on addresses in memory) changes nothing.
"""

from __future__ import annotations

import random


class Chance:
    def __init__(self, seed: int) -> None:
        self.seed = seed

    def of(self, *names: object) -> random.Random:
        """The stream for the thing of this name: the same names and seed give the same numbers."""
        return random.Random(f"{self.seed}/" + "/".join(str(name) for name in names))
