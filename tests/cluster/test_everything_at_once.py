"""Faults of all kinds, drawn from a seed, one after the other under load: nothing lost, none doubled, all equal."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from springtide.testing.cluster import STORE, LocalCluster, Store
from tests.cluster.load import Load, check_equal
from tests.facilities import ALL, need_an_etcd_to_kill

Fault = Callable[[LocalCluster, random.Random], None]


def kill_all(cluster: LocalCluster, chance: random.Random) -> None:
    for node in cluster.nodes:
        cluster.kill(node)
    for node in chance.sample(cluster.nodes, len(cluster.nodes)):
        cluster.start(node, wait=False)


def kill_two(cluster: LocalCluster, chance: random.Random) -> None:
    two = chance.sample(cluster.nodes, 2)
    for node in two:
        cluster.kill(node)
    for node in two:
        cluster.start(node, wait=False)


def kill_a_replica(cluster: LocalCluster, chance: random.Random) -> None:
    replica = _replica(cluster, chance)
    cluster.kill(replica)
    cluster.start(replica)


def lose_a_disk(cluster: LocalCluster, chance: random.Random) -> None:
    replica = _replica(cluster, chance)
    cluster.kill(replica)
    cluster.wipe(replica)
    cluster.start(replica)


def kill_the_store(cluster: LocalCluster, chance: random.Random) -> None:
    cluster.kill(STORE)
    cluster.start(STORE)


def hang_a_replica(cluster: LocalCluster, chance: random.Random) -> None:
    replica = _replica(cluster, chance)
    cluster.pause(replica)
    cluster.wait_for("it is no longer waited for", lambda s: replica not in s["in_sync"])
    cluster.resume(replica)


def hang_the_primary(cluster: LocalCluster, chance: random.Random) -> None:
    primary = cluster.primary()
    cluster.pause(primary)
    cluster.wait_for("another node leads", lambda s: s["primary"] not in (None, "", primary))
    cluster.resume(primary)


def end_the_primary(cluster: LocalCluster, chance: random.Random) -> None:
    primary = cluster.primary()
    cluster.stop(primary)
    cluster.start(primary)


FAULTS: tuple[Fault, ...] = (
    kill_all,
    kill_two,
    kill_a_replica,
    lose_a_disk,
    kill_the_store,
    hang_a_replica,
    hang_the_primary,
    end_the_primary,
)


RUNS: list[tuple[Store, int]] = [("embedded", 1), ("etcd", 2)]
if ALL:
    RUNS += [("embedded" if seed % 2 else "etcd", seed) for seed in range(3, 13)]


def _replica(cluster: LocalCluster, chance: random.Random) -> str:
    primary = cluster.primary()
    return chance.choice([node for node in cluster.nodes if node != primary])


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("store", "seed"), RUNS)
def test_every_fault_once_in_any_order(store: Store, seed: int, tmp_path: Path) -> None:
    if store == "etcd":
        need_an_etcd_to_kill()
    chance = random.Random(seed)
    with LocalCluster(3, store) as cluster:
        with Load(cluster, tmp_path) as load:
            for fault in chance.sample(FAULTS, len(FAULTS)):
                committed = load.total()
                fault(cluster, chance)
                cluster.wait_in_sync()
                cluster.wait_for("commits go on", lambda _, so_far=committed: load.total() > so_far)  # type: ignore[misc]
        load.check()
        check_equal(cluster)
