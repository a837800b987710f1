"""Nodes that hang, and a store that is away."""

from __future__ import annotations

import contextlib
import threading
from pathlib import Path
from typing import Any

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.utils import z64

from springtide.testing.cluster import STORE, LocalCluster
from tests.cluster.load import Load, check_equal, wait_until


@pytest.mark.timeout(180)
def test_a_paused_primary_is_deposed_and_what_it_held_is_set_aside() -> None:
    with LocalCluster(3) as cluster, contextlib.closing(cluster.storage()) as storage:
        old = cluster.primary()
        replicas = [node for node in cluster.nodes if node != old]
        held = TransactionMetaData(description="held")
        oid = storage.new_oid()
        storage.tpc_begin(held)
        storage.store(oid, z64, b"held", "", held)
        storage.tpc_vote(held)

        # What the old primary now appends reaches nobody else.
        for node in replicas:
            cluster.kill(node)
        finishing = Finishing(storage, held)
        finishing.start()
        wait_until("the primary holds what is not committed", lambda: _beyond_commit(cluster, old))
        cluster.pause(old)
        for node in replicas:
            cluster.start(node)
        wait_until("another node leads", lambda: cluster.status()["primary"] in replicas)
        cluster.wait_in_sync(replicas)
        with contextlib.closing(cluster.storage()) as another:
            after = _store(another, b"after")
        epoch = cluster.status()["epoch"]

        cluster.resume(old)

        cluster.wait_in_sync(cluster.nodes)
        finishing.join(60)
        assert finishing.tid is not None, "the commit that met the pause has succeeded, at the new primary"
        status = cluster.status()
        assert status["epoch"] == epoch and status["primary"] in replicas, "the old primary took nothing back"
        (woken,) = (node for node in status["nodes"] if node["node"] == old)
        assert woken["role"] == "replica"
        assert woken["diverged"], "what it held alone is kept aside"
        told = [(t.tid, t.description) for t in storage.iterator()]
        assert sorted(told) == sorted([(finishing.tid, b"held"), (after, b"")]), "each once"
        check_equal(cluster)


class Finishing(threading.Thread):
    """A tpc_finish that takes as long as it takes."""

    def __init__(self, storage: Any, transaction: TransactionMetaData) -> None:
        super().__init__(daemon=True)
        self._storage = storage
        self._transaction = transaction
        self.tid: bytes | None = None

    def run(self) -> None:
        self.tid = self._storage.tpc_finish(self._transaction)


def _store(storage: Any, data: bytes) -> bytes:
    transaction = TransactionMetaData()
    storage.tpc_begin(transaction)
    storage.store(storage.new_oid(), z64, data, "", transaction)
    storage.tpc_vote(transaction)
    tid: bytes = storage.tpc_finish(transaction)
    return tid


@pytest.mark.timeout(180)
def test_a_primary_paused_under_load_costs_time_and_nothing_else(tmp_path: Path) -> None:
    with LocalCluster(3) as cluster:
        with Load(cluster, tmp_path, clients=2) as load:
            old = cluster.primary()
            cluster.pause(old)
            wait_until("another node leads", lambda: cluster.status()["primary"] not in (None, old))
            before = load.total()
            wait_until("writes go on", lambda: load.total() > before + 20)
            cluster.resume(old)
            cluster.wait_in_sync(cluster.nodes)
            before = load.total()
            wait_until("writes still go on", lambda: load.total() > before + 20)
        load.check()
        check_equal(cluster)


@pytest.mark.timeout(180)
def test_with_etcd_hanging_commits_go_on(tmp_path: Path) -> None:
    with LocalCluster(3, "etcd") as cluster:
        with Load(cluster, tmp_path, clients=2) as load:
            before = cluster.status()
            cluster.pause(STORE)
            cluster.wait_for("nodes notice", lambda s: not any(node["store_reachable"] for node in s["nodes"]))
            done = load.total()
            wait_until("commits go on without etcd", lambda: load.total() > done + 200)
            assert cluster.status()["primary"] == before["primary"]
            cluster.resume(STORE)
            cluster.wait_for("nodes find it again", lambda s: all(node["store_reachable"] for node in s["nodes"]))
        load.check()
        check_equal(cluster)


def _beyond_commit(cluster: LocalCluster, node: str) -> bool:
    (told,) = (each for each in cluster.status()["nodes"] if each["node"] == node)
    return int(told["last"].split("/")[1]) > told["commit"]
