"""A store that does not answer, or answers what is no longer so."""

from __future__ import annotations

from springtide.testing.simulator.store import HOST
from springtide.testing.simulator.troubles.base import Act, Trouble


class StoreTroubles(Trouble):
    def acts(self) -> dict[str, Act]:
        return {
            "store outage": self._out,
            "store cut off": self._cut_off,
            "store answers lost": self._lost,
            "store reads stale": self._stale,
            "leases lost early": self._leases,
            "store put back": self._put_back,
        }

    def heal(self) -> None:
        store = self._cluster.store
        store.out, store.stale_seconds, store.lost_chance = False, 0.0, None
        if store.doubted:
            self._cluster.operator.recover()

    def _out(self) -> bool:
        self.tell("the store is out")
        store = self._cluster.store
        store.out = True

        def back() -> None:
            store.out = False

        self.later(self._random.uniform(0.5, 8.0), back)
        return True

    def _cut_off(self) -> bool:
        node, network = self.some(), self._cluster.network
        self.tell(f"{node.name} is cut off from the store")
        pairs, healed = [(node.name, HOST), (HOST, node.name)], network.healed
        for pair in pairs:
            network.cut(*pair)

        def end() -> None:
            if network.healed == healed:
                for pair in pairs:
                    network.mend(*pair)

        self.later(self._random.uniform(0.5, 8.0), end)
        return True

    def _lost(self) -> bool:
        store = self._cluster.store
        store.lost_chance = self._random.choice((0.3, 0.7))
        self.tell(f"{store.lost_chance:.0%} of the store's answers are lost or late")

        def end() -> None:
            store.lost_chance = None

        self.later(self._random.uniform(1.0, 6.0), end)
        return True

    def _stale(self) -> bool:
        store = self._cluster.store
        if store.record is None:
            return False
        self._cluster.stale = True
        store.stale_seconds = self._random.choice((0.3, 1.5, 5.0))
        self.tell(f"the store shows what was {store.stale_seconds} s ago")

        def end() -> None:
            store.stale_seconds = 0.0
            store.announce_change()

        self.later(self._random.uniform(0.5, 5.0), end)
        return True

    def _leases(self) -> bool:
        if self._cluster.store.record is None:
            return False
        self.tell("the store loses all leases")
        self._cluster.store.lose_leases()
        return True

    def _put_back(self) -> bool:
        """To an older copy, or to nothing; an operator writes the record again, sooner or later."""
        cluster, store = self._cluster, self._cluster.store
        record = store.record
        promised = record is not None and len(record.in_sync) >= record.minimum and len(cluster.judge.points) > 1
        empty = any(not platter.identity.cluster for platter in cluster.platters.values())
        if not promised or store.doubted or cluster.lost_disks() or empty:
            return False  # where there is no record, an empty node begins a new cluster
        seconds = self._random.choice((1.0, 5.0, 1000.0))
        self.tell(f"all nodes are stopped, and the store is put back to what it was {seconds} s ago")
        for node in cluster.nodes.values():
            node.crash()
        store.put_back(seconds)
        cluster.judge.doubts()
        # Where the copy is of their own epoch, nodes cannot tell: then they stay down, as the documentation says.
        seen = min(platter.identity.promised for platter in cluster.platters.values())
        cluster.operator.keeps_down = store.record is not None and store.record.epoch >= seen
        if not cluster.operator.keeps_down:
            for node in cluster.nodes.values():
                self.start_later(node, self._random.uniform(0.01, 0.5))
        self.later(self._random.uniform(0.5, 3.0), lambda: cluster.operator.recover() if store.doubted else None)
        return True
