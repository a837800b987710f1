"""A local cluster whose machines can lose their power, all at once: its coordinator's machine too.

All processes run under the shim. They are killed; what each disk would then hold is made from what it was told to write
and to sync, and takes the place of what the kernel, which has not lost its power, still knows.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random

from springtide.testing.cluster import STORE, ClusterFailed, LocalCluster
from tests.facilities import compiled
from tests.powerloss.disk import Disk, remove
from tests.powerloss.trace import Step, read_trace

SHIM = Path(__file__).with_name("shim.c")
#: The coordinator's file lies beside the nodes' directories.
STORE_FILE = "coordinator.json"

Ignores = Callable[[str], bool]


def nothing(path: str) -> bool:
    return False


class Machines:
    def __init__(self, directory: Path, **settings: object) -> None:
        self._traces = directory / "traces"
        self._traces.mkdir()
        shim = compiled(SHIM, directory / "shim.so")
        self._root = (directory / "cluster").resolve()
        self.cluster = LocalCluster(3, directory=self._root, settings=settings, environment=self._environment)
        self._shim = shim
        #: What was on each disk when the processes were started last.
        self._disks: dict[str, Disk] = {}

    @property
    def names(self) -> tuple[str, ...]:
        return (*self.cluster.nodes, STORE)

    def lose_power(self, chance: Random | None = None) -> None:
        """End all processes at once, and leave of each disk what was synced; by ``chance`` some of the rest."""
        self.kill(chance or Random(0))
        self.rebuild(chance)

    def replace_disk(self, name: str) -> None:
        """One machine loses its power, and comes back with an empty disk; does not wait until it is in sync."""
        self.cluster.kill(name)
        remove(self._place(name))
        (self._traces / name).unlink()
        self._disks[name] = Disk(self._root)
        self.cluster.start(name, wait=False)

    def kill(self, chance: Random) -> None:
        for name in chance.sample(self.names, len(self.names)):
            self.cluster.kill(name)

    def rebuild(self, chance: Random | None = None) -> None:
        """Put the disks as they were left in their place; the processes do not run."""
        for name in self.names:
            disk = self._disks.get(name) or Disk(self._root)
            disk.follow(self._steps(name, self._traces / name))
            self._put(name, disk, chance)

    def rebuild_first(self, ignores: Ignores = nothing) -> None:
        """Once more the disks as the first run left them, whatever was done since.

        ``ignores`` names files whose syncs count as never made: what a bug would leave.
        """
        for name in self.names:
            first = self._first(name)
            disk = Disk(self._root, ignores)
            disk.follow(self._steps(name, first if first.exists() else self._traces / name))
            self._put(name, disk, None)

    def start(self) -> None:
        """Start all processes on what is there now, and wait until all nodes are in sync."""
        for name in self.names:
            trace, first = self._traces / name, self._first(name)
            if trace.exists():
                trace.unlink() if first.exists() else trace.rename(first)
            self._disks[name] = Disk(self._root)
            self._disks[name].load(self._place(name))
        for name in (STORE, *self.cluster.nodes):
            self.cluster.start(name, wait=False)
        self._wait_in_sync()

    def _wait_in_sync(self) -> None:
        """However much there is to copy, as long as it goes on."""
        before: list[int] = []
        while True:
            try:
                return self.cluster.wait_in_sync(timeout=30.0)
            except ClusterFailed:
                now = [node.get("commit", 0) for node in self.cluster.status()["nodes"]]
                if now == before:
                    raise
                before = now

    def _put(self, name: str, disk: Disk, chance: Random | None) -> None:
        remove(self._place(name))
        disk.write(self._place(name).name, self._place(name), chance)

    def _place(self, name: str) -> Path:
        return self._root / (STORE_FILE if name == STORE else name)

    def _first(self, name: str) -> Path:
        return self._traces / f"{name}.first"

    def _steps(self, name: str, trace: Path) -> Iterator[Step]:
        """Those on the machine's own disk. Its standard output, and its settings, are the test's files."""
        own = str(self._place(name))
        beside = own if name == STORE else own + "/"  # the store's lock, and what becomes its file
        for step in read_trace(trace):
            if step.path == own or step.path.startswith(beside) or (step.path == str(self._root) and step.op == "D"):
                yield step

    def _environment(self, name: str) -> dict[str, str]:
        return {
            "LD_PRELOAD": str(self._shim),
            "POWERLOSS_ROOT": str(self._root),
            "POWERLOSS_TRACE": str(self._traces / name),
        }
