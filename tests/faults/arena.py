"""What a fault may do: the cluster, its clients, chance, and somebody who writes down what happens."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from springtide.testing.cluster import ClusterFailed
from springtide.testing.workloads import Clients
from tests.faults.attacked import STORES, Attacked
from tests.faults.network import Link


class NotTried(Exception):
    """The fault cannot be, here or now; the text says why."""


class Story:
    """What happened, line by line: on standard output, and in a file."""

    def __init__(self, file: Path) -> None:
        self._file = file.open("a", buffering=1)
        self._began = time.monotonic()

    def say(self, text: str) -> None:
        line = f"{time.monotonic() - self._began:8.1f} s  {text}"
        print(line, flush=True)
        self._file.write(line + "\n")


@dataclass
class Arena:
    cluster: Attacked
    clients: Clients
    chance: Random
    say: Callable[[str], None]
    #: Nodes that were killed, or ended, and must be started again.
    down: set[str] = field(default_factory=set)

    # -- who is who ---------------------------------------------------------------------------

    def primary(self) -> str:
        """Raises NotTried where nobody leads now."""
        found = self.cluster.primary()
        if found is None or found in self.down:
            raise NotTried("nobody leads now")
        return found

    def replica(self) -> str:
        others = [node for node in self.up() if node != self.primary()]
        if not others:
            raise NotTried("no replica runs now")
        return self.chance.choice(others)

    def any_node(self) -> str:
        if not self.up():
            raise NotTried("no node runs now")
        return self.chance.choice(self.up())

    def up(self) -> list[str]:
        processes = self.cluster.processes
        return [n for n in self.cluster.nodes if processes[n].running and not processes[n].paused]

    def title(self, node: str) -> str:
        return f"node {node}, the primary," if self.cluster.primary() == node else f"node {node}"

    # -- nodes --------------------------------------------------------------------------------

    def kill(self, *names: str) -> None:
        for name in names:
            self.cluster.kill(name)
            self.down.add(name)

    def start(self, *names: str) -> None:
        for name in names:
            if not self.cluster.processes[name].running:
                self.cluster.start(name)
            self.down.discard(name)

    # -- links --------------------------------------------------------------------------------

    def cut(self, ones: Sequence[str], others: Sequence[str], both: bool = True) -> None:
        """Nothing travels from the first to the second any more, nor back."""
        if self.cluster.network.missing:
            raise NotTried(self.cluster.network.missing)
        links: list[Link] = [(one, other) for one in ones for other in others if one != other]
        self.cluster.network.cut([*links, *((b, a) for a, b in links)] if both else links)

    # -- after it -----------------------------------------------------------------------------

    def heal(self) -> None:
        """Nothing is wrong with the machines any more. Raises ClusterFailed where one ended that nobody killed."""
        for name, process in self.cluster.processes.items():
            if not process.running and name not in self.down and process.status != -signal.SIGKILL:
                said = self.cluster.said(name, 20)
                raise ClusterFailed(f"{name} ended by itself with {process.status}: {said}")
        self.mend()

    def mend(self) -> None:
        """Whatever was done, and whatever a fault forgot to undo."""
        cluster = self.cluster
        cluster.network.heal()
        if cluster.links is not None:
            cluster.links.heal()
        for disk in cluster.disks.values():
            disk.free()
        for node in cluster.nodes:
            cluster.clock.jump(node, 0)
            for armed in (cluster.failpoints / node).iterdir():
                armed.unlink(missing_ok=True)
        for name, process in cluster.processes.items():
            if process.paused:
                cluster.resume(name)
        for name in (*STORES, *cluster.nodes):
            self.start(name)


Fault = Callable[[Arena], Iterator[None]]
