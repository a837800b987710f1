"""Nodes that hang, and a store that is away."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
import transaction
import ZODB
from transaction.interfaces import TransientError

from springtide.testing.cluster import STORE, LocalCluster
from tests.cluster.load import Load, check_equal, wait_until


@pytest.mark.timeout(180)
def test_a_paused_primary_is_deposed_and_what_it_held_is_set_aside() -> None:
    with LocalCluster(3) as cluster:
        db = ZODB.DB(cluster.storage())
        old = cluster.primary()
        replicas = [node for node in cluster.nodes if node != old]

        # What the old primary now appends reaches nobody else.
        for node in replicas:
            cluster.kill(node)
        finishing = threading.Thread(target=_commit, args=(db, "held"), daemon=True)
        finishing.start()
        wait_until("the primary holds what is not committed", lambda: _beyond_commit(cluster, old))
        cluster.pause(old)
        for node in replicas:
            cluster.start(node)
        wait_until("another node leads", lambda: cluster.status()["primary"] in replicas)
        cluster.wait_in_sync(replicas)
        with_new_primary = ZODB.DB(cluster.storage())
        _commit(with_new_primary, "after")
        epoch = cluster.status()["epoch"]

        cluster.resume(old)

        cluster.wait_in_sync(cluster.nodes)
        finishing.join(60)
        assert not finishing.is_alive(), "the commit that met the pause has an outcome"
        status = cluster.status()
        assert status["epoch"] == epoch and status["primary"] in replicas, "the old primary took nothing back"
        (woken,) = (node for node in status["nodes"] if node["node"] == old)
        assert woken["role"] == "replica"
        assert woken["diverged"], "what it held alone is kept aside"
        with with_new_primary.transaction() as connection:
            assert connection.root()["after"] == 1
            assert connection.root()["held"] == 1, "committed once: by the client's second attempt"
        check_equal(cluster)
        db.close()
        with_new_primary.close()


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
@pytest.mark.parametrize("how", ["paused", "killed"])
def test_with_etcd_away_commits_go_on(how: str, tmp_path: Path) -> None:
    with LocalCluster(3, "etcd") as cluster:
        with Load(cluster, tmp_path, clients=2) as load:
            before = cluster.status()
            if how == "paused":
                cluster.pause(STORE)
            else:
                cluster.kill(STORE)
            cluster.wait_for("nodes notice", lambda s: not any(node["store_reachable"] for node in s["nodes"]))
            done = load.total()
            wait_until("commits go on without etcd", lambda: load.total() > done + 200)
            assert cluster.status()["primary"] == before["primary"]
            if how == "paused":
                cluster.resume(STORE)
            else:
                cluster.start(STORE)
            cluster.wait_for("nodes find it again", lambda s: all(node["store_reachable"] for node in s["nodes"]))
        load.check()
        check_equal(cluster)


def _commit(db: ZODB.DB, key: str) -> None:
    """Count one up, and try again as an application would."""
    manager = transaction.TransactionManager(explicit=True)
    connection = db.open(manager)
    while True:
        manager.begin()
        try:
            root = connection.root()
            root[key] = root.get(key, 0) + 1
            manager.commit()
            break
        except TransientError:
            manager.abort()
    connection.close()


def _beyond_commit(cluster: LocalCluster, node: str) -> bool:
    (told,) = (each for each in cluster.status()["nodes"] if each["node"] == node)
    return int(told["last"].split("/")[1]) > told["commit"]
