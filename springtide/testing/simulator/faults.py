"""What goes wrong, when, and for how long: all from the seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection

from springtide.testing.simulator.cluster import Cluster
from springtide.testing.simulator.troubles.base import Act, Trouble
from springtide.testing.simulator.troubles.disks import DiskTroubles
from springtide.testing.simulator.troubles.links import LinkTroubles
from springtide.testing.simulator.troubles.nodes import NodeTroubles
from springtide.testing.simulator.troubles.operators import OperatorActs
from springtide.testing.simulator.troubles.store import StoreTroubles

KINDS: tuple[type[Trouble], ...] = (LinkTroubles, DiskTroubles, StoreTroubles, OperatorActs, NodeTroubles)


class Faults:
    def __init__(
        self,
        cluster: Cluster,
        counts: Counter[str],
        only: Collection[str] | None = None,
        every_seconds: float | None = None,
    ) -> None:
        """The seed decides which kinds there are and how much time is between them, where the caller does not."""
        self._cluster = cluster
        self._counts = counts
        self._random = rnd = cluster.chance.of("faults")
        self._pause = every_seconds or rnd.choice((0.3, 1.0, 3.0))
        self._troubles = [kind(cluster, rnd, counts) for kind in KINDS]
        every: dict[str, Act] = {name: act for trouble in self._troubles for name, act in trouble.acts().items()}
        if only is None:
            left_out = set(rnd.sample(sorted(every), rnd.randint(0, len(every) * 3 // 4)))
            only = every.keys() - left_out
        self._acts = {name: every[name] for name in only}

    async def run(self, until: float) -> None:
        loop = self._cluster.loop
        while True:
            await asyncio.sleep(self._random.expovariate(1 / self._pause))
            if loop.now > until:
                return
            name = self._random.choice(sorted(self._acts))
            if self._acts[name]():
                self._counts[name] += 1

    def heal(self) -> None:
        """Everything works from now on."""
        for trouble in self._troubles:
            trouble.heal()
