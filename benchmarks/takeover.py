"""How long commits pause when the primary is killed, hangs, or hands over, as a client sees it; and reads meanwhile.

    python benchmarks/takeover.py --trials 50 [--store etcd] [--kind kill --kind stop --kind handover]

Three nodes with the default settings (a lease of 3 s). One client commits one small record after the other; another
loads records, each from a node, at the snapshot of that moment. A trial is one event. Its pause is the longest time
between two acknowledgements of commits, one after the other, around the event; that of reads likewise.
"""

from __future__ import annotations

import argparse
import threading
import time
from collections.abc import Callable
from typing import Any

from measuring import store
from transaction.interfaces import TransientError
from ZODB.utils import maxtid, p64, z64

from springtide.testing.cluster import LocalCluster
from springtide.wire.v1 import admin_pb2

#: What is aimed at, in seconds: in the median, of 19 in 20, at worst.
GOALS = {"kill": (0.5, 1.0, 2.0), "stop": (4.0, 5.0, 6.0), "handover": (0.2, 0.5, 1.0)}
NAMES = {"kill": "kill -9 of the primary", "stop": "SIGSTOP of the primary", "handover": "switchover"}
#: More than a client's cache holds while it is as small as it is here: every read asks a node.
RECORDS, RECORD, CACHE_BYTES = 5_000, bytes(500), 2**16
#: Commits before an event and after it.
COMMITS = 20
WAIT_SECONDS = 60.0
#: Between two reads: who reads without a pause takes the processor from the nodes.
PAUSE_SECONDS = 0.002


class Client(threading.Thread):
    """Does one thing again and again, and notes when each was done."""

    def __init__(self, storage: Any) -> None:
        super().__init__(daemon=True)
        self.done: list[float] = []
        self.retried = 0
        self.stopping = threading.Event()
        self.storage = storage

    def run(self) -> None:
        while not self.stopping.is_set():
            try:
                self.act()
            except TransientError:
                self.retried += 1
            else:
                self.done.append(time.monotonic())

    def act(self) -> None:
        raise NotImplementedError

    def end(self) -> None:
        self.stopping.set()
        self.join()
        self.storage.close()

    def longest_pause(self, since: float) -> float:
        """Between two of what was done, the first of which was the last one before ``since``, or a later one."""
        done = list(self.done)
        first = max((n for n, moment in enumerate(done) if moment < since), default=0)
        return max(after - before for before, after in zip(done[first:], done[first + 1 :], strict=False))


class Writer(Client):
    def __init__(self, storage: Any) -> None:
        super().__init__(storage)
        self._serials = {storage.new_oid(): z64}

    def act(self) -> None:
        ((name, serial),) = self._serials.items()
        self._serials[name] = store(self.storage, [(name, serial, RECORD)])


class Reader(Client):
    def __init__(self, storage: Any) -> None:
        super().__init__(storage)
        self._next = 0

    def act(self) -> None:
        self._next = self._next % RECORDS + 1
        assert self.storage.loadBefore(p64(self._next), maxtid)[0] == RECORD
        self.stopping.wait(PAUSE_SECONDS)


def until(what: str, condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"not within {WAIT_SECONDS:g} s: {what}")
        time.sleep(0.005)


def hand_over(cluster: LocalCluster, primary: str) -> None:
    with cluster.admin() as admin:
        admin.call(cluster.address(primary), "HandOver", admin_pb2.HandOverRequest(to=""), 30)


def trial(cluster: LocalCluster, kind: str, writer: Writer, reader: Reader) -> tuple[float, float]:
    """How long commits paused, and reads."""
    cluster.wait_in_sync(cluster.nodes)
    for client in (writer, reader):
        count = len(client.done)
        until("clients are at work", lambda client=client, count=count: len(client.done) > count + COMMITS)
    primary, epoch = cluster.primary(), cluster.status()["epoch"]
    began = time.monotonic()
    {"kill": cluster.kill, "stop": cluster.pause, "handover": lambda node: hand_over(cluster, node)}[kind](primary)
    until("another node leads", lambda: cluster.status()["epoch"] > epoch)
    for client in (writer, reader):
        count = len(client.done)
        until("clients go on", lambda client=client, count=count: len(client.done) > count + COMMITS)
    paused = writer.longest_pause(began), reader.longest_pause(began)
    if kind == "kill":
        cluster.start(primary)
    if kind == "stop":
        cluster.resume(primary)
    return paused


def share(values: list[float], of: float) -> float:
    """What so large a part of them is at most."""
    return sorted(values)[max(0, -int(-len(values) * of // 1) - 1)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=50)
    parser.add_argument("--store", choices=("embedded", "etcd"), default="embedded")
    parser.add_argument("--kind", choices=tuple(GOALS), action="append")
    told = parser.parse_args()
    print("| event | trials | commits pause: p50 | p95 | worst | goals | reads pause: p50 | worst |")
    print("|---|---|---|---|---|---|---|---|")
    with LocalCluster(3, told.store) as cluster:
        storage = cluster.storage()
        for first in range(1, RECORDS + 1, 1_000):
            store(storage, [(p64(n), z64, RECORD) for n in range(first, min(first + 1_000, RECORDS + 1))])
        storage.close()
        cluster.wait_for("every node has it", lambda status: not any(node["behind"] for node in status["nodes"]))
        writer = Writer(cluster.storage(timeout=WAIT_SECONDS, finish_timeout=WAIT_SECONDS))
        reader = Reader(cluster.storage(timeout=WAIT_SECONDS, cache_bytes=CACHE_BYTES))
        for client in (writer, reader):
            client.start()
        for kind in told.kind or tuple(GOALS):
            commits, reads = zip(*(trial(cluster, kind, writer, reader) for _ in range(told.trials)), strict=True)
            figures = [f"{share(list(commits), of):.2f} s" for of in (0.5, 0.95, 1.0)]
            figures += ["/".join(f"{goal:g}" for goal in GOALS[kind]) + " s"]
            figures += [f"{share(list(reads), of):.2f} s" for of in (0.5, 1.0)]
            print(f"| {NAMES[kind]} | {told.trials} | {' | '.join(figures)} |", flush=True)
        for client in (writer, reader):
            client.end()
        done = [
            f"{len(client.done)} {what}, {client.retried} repeated"
            for client, what in ((writer, "commits"), (reader, "reads"))
        ]
        print("\n" + "; ".join(done))


if __name__ == "__main__":
    main()
