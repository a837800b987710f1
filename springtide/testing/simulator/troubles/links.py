"""Messages that are late, lost, repeated, or that overtake each other; hosts that do not reach each other."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from springtide.testing.simulator.links import Link
from springtide.testing.simulator.store import HOST
from springtide.testing.simulator.troubles.base import CLIENTS, Act, Trouble

Pair = tuple[str, str]


class LinkTroubles(Trouble):
    def acts(self) -> dict[str, Act]:
        return {
            "partition": self._partition,
            "one-way cut": self._one_way,
            "loss": self._loss,
            "delay": self._delay,
            "reordering": self._reordering,
            "duplication": self._duplication,
            "broken streams": self._broken,
        }

    def heal(self) -> None:
        self._cluster.network.heal()

    def _hosts(self) -> list[str]:
        return [*sorted(self._cluster.nodes), HOST, *CLIENTS]

    def _some_pairs(self) -> list[Pair]:
        """One direction, one host's links, or all."""
        hosts = self._hosts()
        one, other = self._random.sample(hosts, 2)
        match self._random.randrange(3):
            case 0:
                return [(one, other)]
            case 1:
                return [pair for host in hosts if host != one for pair in ((one, host), (host, one))]
        return [(source, target) for source in hosts for target in hosts if source != target]

    def _partition(self) -> bool:
        names = self._hosts()
        side = {name for name in names if self._random.random() < 0.4}
        self.tell(f"partition: {', '.join(name for name in names if name in side)} from the others")
        self._cut([(one, other) for one in names for other in names if (one in side) != (other in side)])
        return True

    def _one_way(self) -> bool:
        source, target = self._random.sample(self._hosts(), 2)
        self.tell(f"nothing from {source} reaches {target}")
        self._cut([(source, target)])
        return True

    def _cut(self, pairs: Iterable[Pair]) -> None:
        network, cut = self._cluster.network, list(pairs)
        for pair in cut:
            network.cut(*pair)
        healed = network.healed

        def end() -> None:
            if network.healed == healed:
                for pair in cut:
                    network.mend(*pair)

        self.later(self._random.uniform(0.2, 8.0), end)

    # -- weather ---------------------------------------------------------------------------------

    def _loss(self) -> bool:
        chance = self._random.choice((0.02, 0.1, 0.3))

        def begin(link: Link) -> None:
            link.lost_chance = chance

        def end(link: Link) -> None:
            link.lost_chance = 0.0

        return self._weather(f"{chance:.0%} of what is said is lost", begin, end)

    def _delay(self) -> bool:
        seconds = self._random.choice((0.05, 0.5, 2.0))

        def begin(link: Link) -> None:
            link.slow_seconds = seconds

        def end(link: Link) -> None:
            link.slow_seconds = 0.0

        return self._weather(f"everything takes up to {seconds} s longer", begin, end)

    def _reordering(self) -> bool:
        seconds = self._random.choice((0.2, 1.0))

        def begin(link: Link) -> None:
            link.shuffle_seconds = seconds

        def end(link: Link) -> None:
            link.shuffle_seconds = 0.0

        return self._weather(f"calls overtake each other by up to {seconds} s", begin, end)

    def _duplication(self) -> bool:
        def begin(link: Link) -> None:
            link.twice_chance = 0.5

        def end(link: Link) -> None:
            link.twice_chance = 0.0

        return self._weather("calls are heard twice", begin, end)

    def _weather(self, what: str, begin: Callable[[Link], None], end: Callable[[Link], None]) -> bool:
        pairs = self._some_pairs()
        where = "everywhere" if len(pairs) > 20 else " ".join(f"{source}>{target}" for source, target in pairs)
        self.tell(f"{what}: {where}")
        links = [self._cluster.network.link(*pair) for pair in pairs]
        for link in links:
            begin(link)

        def all_end() -> None:
            for link in links:
                end(link)

        self.later(self._random.uniform(0.5, 6.0), all_end)
        return True

    def _broken(self) -> bool:
        one, other = self._random.sample(self._hosts(), 2)
        count = self._cluster.network.reset(one, other)
        if count:
            self.tell(f"{count} streams between {one} and {other} break")
        return count > 0
