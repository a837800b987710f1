"""What all troubles share: whom they meet, and how they end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from random import Random

from springtide.testing.simulator.cluster import Cluster, SimNode

#: Makes it happen; False where it cannot happen just now.
Act = Callable[[], bool]

CLIENTS = ("client1", "client2", "client3")


class Trouble:
    def __init__(self, cluster: Cluster, rnd: Random, counts: Counter[str]) -> None:
        """``counts`` is for what is not counted by the act that made it likely."""
        self._cluster, self._random, self._counts = cluster, rnd, counts

    def acts(self) -> dict[str, Act]:
        """What can go wrong, by the name under which it is counted."""
        raise NotImplementedError

    def heal(self) -> None:
        """None of it goes on."""

    def some(self) -> SimNode:
        """Mostly the primary: that is where the trouble is."""
        primary = self._cluster.primary()
        if primary is not None and self._random.random() < 0.4:
            return primary
        return self._cluster.nodes[self._random.choice(sorted(self._cluster.nodes))]

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """By nobody's clock."""
        self._cluster.loop.post(self._cluster.loop.now + seconds, act)

    def down(self, node: SimNode, seconds: float) -> None:
        """It crashes, and is started again after a while."""
        node.crash()
        self.start_later(node, seconds)

    def start_later(self, node: SimNode, seconds: float) -> None:
        self.later(seconds, lambda: self.start(node))

    def start(self, node: SimNode) -> None:
        """If it is down, and nobody wants it to be."""
        if not node.up and not self._cluster.operator.keeps_down:
            node.start()

    def tell(self, line: str) -> None:
        self._cluster.tell(line)
