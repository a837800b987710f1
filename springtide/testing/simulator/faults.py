"""What goes wrong, when, and for how long: all from the seed."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable

from springtide import errors
from springtide.testing.simulator.cluster import Cluster, SimNode
from springtide.testing.simulator.store import HOST


class Faults:
    """Invariant: disks are lost no faster than the guarantee allows (minimum - 1 at a time)."""

    def __init__(self, cluster: Cluster, counts: Counter[str]) -> None:
        self._cluster = cluster
        self._counts = counts
        self._random = rnd = cluster.chance.of("faults")
        self._pause = rnd.choice((0.3, 1.0, 3.0))
        every: dict[str, Callable[[], bool]] = {
            "crash": self._crash,
            "crash of all": self._crash_all,
            "restart in place": self._restart,
            "pause": self._pause_node,
            "partition": self._partition,
            "one-way cut": self._one_way,
            "heal": self._heal_network,
            "store outage": self._store_out,
            "store cut off": self._store_cut,
            "disk failure": self._disk_fails,
            "disk lost": self._lose_disk,
            "hand over": self._hand_over,
        }
        left_out = set(rnd.sample(sorted(every), rnd.randint(0, len(every) // 2)))
        self._acts = {name: act for name, act in every.items() if name not in left_out}
        self._switches: list[asyncio.Task[None]] = []

    async def run(self, until: float) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(self._random.expovariate(1 / self._pause))
            if loop.time() > until:
                return
            name = self._random.choice(sorted(self._acts))
            if self._acts[name]():
                self._counts[name] += 1

    def heal(self) -> None:
        """Everything works from now on."""
        self._cluster.network.heal()
        self._cluster.store.out = False
        for node in self._cluster.nodes.values():
            if node.life is not None and node.life.paused:
                node.life.resume(self._cluster.loop)
            if not node.up:
                node.start()

    # -- nodes -----------------------------------------------------------------------------------

    def _some(self) -> SimNode:
        """Mostly the primary: that is where the trouble is."""
        primary = self._cluster.primary()
        if primary is not None and self._random.random() < 0.4:
            return primary
        return self._cluster.nodes[self._random.choice(sorted(self._cluster.nodes))]

    def _later(self, seconds: float, act: Callable[[], None]) -> None:
        self._cluster.loop.post(self._cluster.loop.now + seconds, act)

    def _down(self, node: SimNode, seconds: float) -> None:
        node.crash()
        self._later(seconds, lambda: None if node.up else node.start())

    def _crash(self) -> bool:
        node = self._some()
        if not node.up:
            return False
        self._cluster.tell(f"{node.name} crashes")
        self._down(node, self._random.uniform(0.01, 6.0))
        return True

    def _restart(self) -> bool:
        """So quickly that nobody may notice."""
        node = self._some()
        if not node.up:
            return False
        self._cluster.tell(f"{node.name} crashes and is back at once")
        self._down(node, 0.0)
        return True

    def _crash_all(self) -> bool:
        self._cluster.tell("power fails everywhere")
        for node in self._cluster.nodes.values():
            if node.up:
                self._down(node, self._random.uniform(0.01, 3.0))
        return True

    def _pause_node(self) -> bool:
        node = self._some()
        life = node.life
        if life is None or life.paused:
            return False
        seconds = self._random.choice((0.3, 1.5, 5.0))
        self._cluster.tell(f"{node.name} is paused for {seconds} s")
        life.pause(self._cluster.loop)
        self._later(seconds, lambda: life.resume(self._cluster.loop))
        return True

    def _disk_fails(self) -> bool:
        node = self._some()
        if not node.up:
            return False
        self._cluster.tell(f"{node.name}'s disk refuses to write")
        node.fail_disk()
        self._later(self._random.uniform(0.5, 6.0), lambda: self._down(node, 0.1))
        return True

    def _lose_disk(self) -> bool:
        record = self._cluster.store.record
        node = self._some()
        if record is None or len(record.in_sync) < record.minimum:
            return False  # a cluster that is just being made: nothing is promised yet
        if self._cluster.lost_disks() + 1 > record.minimum - 1:
            return False
        self._cluster.tell(f"{node.name} loses its disk")
        node.crash()
        node.insert_disk()
        self._later(self._random.uniform(0.01, 3.0), lambda: None if node.up else node.start())
        return True

    def _hand_over(self) -> bool:
        primary = self._cluster.primary()
        if primary is None or primary.life is None or primary.core is None or primary.life.paused:
            return False
        core = primary.core
        self._cluster.tell(f"{primary.name} is asked to hand over")

        async def switch() -> None:
            try:
                await core.hand_over(None)
            except errors.SpringtideError as error:
                self._cluster.tell(f"it did not: {error}")

        self._switches.append(primary.life.start(switch()))
        return True

    # -- the network and the store -----------------------------------------------------------------

    def _partition(self) -> bool:
        network, names = self._cluster.network, [*sorted(self._cluster.nodes), HOST, "client1", "client2", "client3"]
        side = {name for name in names if self._random.random() < 0.4}
        self._cluster.tell(f"partition: {', '.join(name for name in names if name in side)} from the others")
        for one in names:
            for other in names:
                if (one in side) != (other in side):
                    network.cut(one, other)
        self._later(self._random.uniform(0.2, 8.0), network.heal)
        return True

    def _one_way(self) -> bool:
        names = [*sorted(self._cluster.nodes), HOST]
        source, target = self._random.sample(names, 2)
        self._cluster.tell(f"nothing from {source} reaches {target}")
        self._cluster.network.cut(source, target)
        self._later(self._random.uniform(0.2, 8.0), self._cluster.network.heal)
        return True

    def _heal_network(self) -> bool:
        self._cluster.network.heal()
        return True

    def _store_out(self) -> bool:
        self._cluster.tell("the store is out")
        self._cluster.store.out = True

        def back() -> None:
            self._cluster.store.out = False

        self._later(self._random.uniform(0.5, 8.0), back)
        return True

    def _store_cut(self) -> bool:
        node = self._some()
        self._cluster.tell(f"{node.name} is cut off from the store")
        self._cluster.network.cut(node.name, HOST)
        self._cluster.network.cut(HOST, node.name)
        self._later(self._random.uniform(0.5, 8.0), self._cluster.network.heal)
        return True
