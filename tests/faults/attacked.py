"""The cluster that is attacked: nodes on machines and disks of their own, three etcd servers, and clients.

What ``LocalCluster`` offers to whoever judges a cluster (``tests.cluster.verdict``), this offers, too.
"""

from __future__ import annotations

import json
import os
import shutil
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from springtide.errors import SpringtideError
from springtide.testing import etcd
from springtide.testing.admin import Admin, cluster_status, in_sync
from springtide.testing.cluster import ClusterFailed
from springtide.testing.parts import node_process
from springtide.testing.process import Process, free_port
from springtide.wire.v1 import admin_pb2
from tests.faults.clocks import Clock
from tests.faults.disks import Plain
from tests.faults.links import Links, Place
from tests.faults.network import Namespaces, Network

STORES = ("s1", "s2", "s3")
CLIENTS = ("k1", "k2")
WAIT_SECONDS = 60.0
_REPOSITORY = Path(__file__).parents[2]
_LOOK_SECONDS = 0.05


def names(count: int) -> tuple[str, ...]:
    return tuple("abcdefghi"[:count])


class Attacked:
    def __init__(
        self, nodes: Sequence[str], network: Network, disks: dict[str, Plain], clock: Clock, directory: Path
    ) -> None:
        self.nodes = tuple(nodes)
        self.network = network
        self.disks = disks
        self.clock = clock
        self.directory = directory
        self.failpoints = directory / "failpoints"
        self.failpoints.mkdir()
        self._ports = {machine: free_port() for machine in (*self.nodes, *STORES)}
        self._peer_ports = {store: free_port() for store in STORES}
        self.links = self._links() if isinstance(network, Namespaces) else None
        self.admin_ = Admin(self.addresses)
        self.processes = {name: self._store(name) for name in STORES}
        self.processes |= {name: self._node(name) for name in self.nodes}

    # -- where it is --------------------------------------------------------------------------

    def address(self, name: str) -> str:
        return f"{self.network.host(name)}:{self._ports[name]}"

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(self.address(node) for node in self.nodes)

    def data(self, node: str) -> Path:
        return self.disks[node].data

    def admin(self) -> Admin:
        return Admin(self.addresses)

    def storage(self, **options: Any) -> Any:
        from springtide import ClusterStorage

        return ClusterStorage(list(self.addresses), **options)

    # -- life ---------------------------------------------------------------------------------

    def start_all(self) -> None:
        for process in self.processes.values():
            process.start()
        self.wait_in_sync()

    def close(self) -> None:
        for disk in self.disks.values():
            disk.free()
        self.admin_.close()
        for process in reversed(self.processes.values()):
            process.kill()
        if self.links is not None:
            self.links.close()

    def start(self, name: str) -> None:
        self.processes[name].start()

    def kill(self, name: str) -> None:
        self.processes[name].kill()

    def pause(self, name: str) -> None:
        self.processes[name].pause()

    def resume(self, name: str) -> None:
        self.processes[name].resume()

    # -- what it is doing ---------------------------------------------------------------------

    def status(self) -> dict[str, Any]:
        return cluster_status(self.admin_)

    def answers(self, seconds: float = 2.0) -> dict[str, admin_pb2.StatusAnswer]:
        """What the nodes say of themselves, of those that answer."""
        awake = {self.address(n): n for n in self.nodes if self.processes[n].running and not self.processes[n].paused}
        answers = self.admin_.call_all("Status", admin_pb2.StatusRequest(), list(awake), seconds)
        return {awake[at]: answer for at, answer in answers.items() if not isinstance(answer, SpringtideError)}

    def primary(self) -> str | None:
        leading = [answer for answer in self.answers().values() if answer.role == "primary"]
        return str(max(leading, key=lambda answer: answer.epoch).node) if leading else None

    def in_sync(self) -> bool:
        """All nodes follow one primary."""
        return in_sync(self.answers(), set(self.nodes), {""})

    def wait_in_sync(self) -> None:
        self.until("the nodes are in sync", self.in_sync)

    def wait_for(self, what: str, condition: Callable[[dict[str, Any]], bool]) -> None:
        self.until(what, lambda: condition(self.status()))

    def until(self, what: str, condition: Callable[[], object], seconds: float = WAIT_SECONDS) -> float:
        """Wait; how long it took. Raises ClusterFailed where a node ended meanwhile, or it took too long."""
        began = time.monotonic()
        while not condition():
            for name, process in self.processes.items():
                if process.status not in (None, 0, -9):
                    raise ClusterFailed(
                        f"{name} ended with {process.status} while waiting until {what}: {self.said(name)}"
                    )
            if time.monotonic() - began > seconds:
                raise ClusterFailed(f"not within {seconds:.0f} s: {what}\n{json.dumps(self.status(), indent=1)}")
            time.sleep(_LOOK_SECONDS)
        return time.monotonic() - began

    def said(self, name: str, lines: int = 1) -> str:
        """The last lines of a log."""
        return self.processes[name].log_tail(lines)

    # -- etcd ---------------------------------------------------------------------------------

    def ask_store(self, store: str, path: str, seconds: float = 2.0, **request: object) -> dict[str, Any]:
        """Raises OSError."""
        url = f"http://{self.address(store)}/v3/{path}"
        asked = urllib.request.Request(url, json.dumps(request).encode(), {"Content-Type": "application/json"})
        with urllib.request.urlopen(asked, timeout=seconds) as answer:
            return dict(json.load(answer))

    def store_leader(self) -> str | None:
        for store in STORES:
            try:
                answer = self.ask_store(store, "maintenance/status")
            except (OSError, urllib.error.URLError):
                continue
            if answer.get("leader") == answer["header"]["member_id"]:
                return store
        return None

    # -- within -------------------------------------------------------------------------------

    def _links(self) -> Links:
        assert isinstance(self.network, Namespaces)
        network, places = self.network, []
        machines = (*self.nodes, *STORES, *CLIENTS)

        def place(near: str, far: str, port: int) -> None:
            places.append(Place(near, far, (network.host(far), port), (network.wire(far), port)))

        for near in (*self.nodes, *CLIENTS):
            for far in self.nodes:
                if far != near:
                    place(near, far, self._ports[far])
        for store in STORES:
            for node in self.nodes:
                place(node, store, self._ports[store])
            for other in STORES:
                if other != store:
                    place(store, other, self._peer_ports[other])
        spaces = {machine: network.prefix(machine)[-1].removeprefix("--net=") for machine in machines}
        return Links(places, spaces, self.directory)

    def _store(self, name: str) -> Process:
        host, bind = self.network.host(name), self.network.bind(name)
        client, peer = self._ports[name], self._peer_ports[name]
        peers = (f"{store}=http://{self.network.host(store)}:{self._peer_ports[store]}" for store in STORES)
        command = [
            *self._ends_with_parent(),
            *self.network.prefix(name),
            etcd.find(),
            f"--name={name}",
            f"--data-dir={self.directory / name}",
            f"--listen-client-urls=http://{bind}:{client}",
            f"--advertise-client-urls=http://{host}:{client}",
            f"--listen-peer-urls=http://{bind}:{peer}",
            f"--initial-advertise-peer-urls=http://{host}:{peer}",
            f"--initial-cluster={','.join(peers)}",
            "--log-level=warn",
        ]
        return Process(name, command, self.directory / f"{name}.log")

    def _node(self, name: str) -> Process:
        settings: dict[str, object] = {
            "node": name,
            "bind": f"{self.network.bind(name)}:{self._ports[name]}",
            "advertise": self.address(name),
            "insecure": True,
            "data": str(self.data(name)),
            "cluster": "attacked",
            "initial_nodes": list(self.nodes),
            # Little, so that who lost its disk has to copy all.
            "log_retention_bytes": 2**20,
            "coordinator": {"etcd": {"endpoints": [self.address(store) for store in STORES]}},
        }
        process = node_process(self.directory, settings)
        python, _, _, *arguments = process.command  # python -m springtide node ...
        place = self.failpoints / name
        place.mkdir()
        process.command = [*self.network.prefix(name), python, "-m", "tests.faults.failpoints", str(place), *arguments]
        process.environment = environment() | self.clock.environment(name)
        return process

    @staticmethod
    def _ends_with_parent() -> Sequence[str]:
        """For programs of others, which do not watch their standard input."""
        return ("setpriv", "--pdeathsig", "KILL") if shutil.which("setpriv") else ()


def environment() -> dict[str, str]:
    """What a process needs to find this package."""
    found = os.environ.get("PYTHONPATH", "")
    return {"PYTHONPATH": f"{_REPOSITORY}{os.pathsep}{found}" if found else str(_REPOSITORY)}
