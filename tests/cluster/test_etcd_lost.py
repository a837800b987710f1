"""etcd is away, comes back empty, or as it was long ago: commits go on, and nobody begins another cluster."""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ZODB.utils import load_current, p64, z64

from springtide.cli.main import springtide as command
from springtide.testing.cluster import STORE, LocalCluster
from tests.cluster.disturber import hand_over
from tests.cluster.load import Load, check_equal, wait_until
from tests.cluster.test_clear_errors import store
from tests.facilities import ALL, need_an_etcd_to_kill

AWAY_SECONDS = 600.0 if ALL else 6.0


@pytest.mark.slow
@pytest.mark.timeout(AWAY_SECONDS + 240)
def test_while_etcd_is_stopped_no_commit_is_refused(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    need_an_etcd_to_kill()
    with LocalCluster(3, "etcd") as cluster:
        with Load(cluster, tmp_path, clients=2) as load:
            before = cluster.status()
            cluster.kill(STORE)
            began, done = time.monotonic(), load.total()
            cluster.wait_for("nodes notice", lambda s: not any(node["store_reachable"] for node in s["nodes"]))
            while time.monotonic() < began + AWAY_SECONDS:
                so_far = load.total()
                wait_until("commits go on", lambda so_far=so_far: load.total() > so_far + 20)
            away, done = time.monotonic() - began, load.total() - done
            events = {event: sum(len(load.events(n, event)) for n in range(2)) for event in ("failed", "retried")}
            after = cluster.status()
            cluster.start(STORE)
            cluster.wait_for("nodes find it again", lambda s: all(node["store_reachable"] for node in s["nodes"]))
        load.check()
        check_equal(cluster)

    assert events == {"failed": 0, "retried": 0}
    assert [(s["epoch"], s["primary"], s["in_sync"]) for s in (before, after)] == [
        (before["epoch"], before["primary"], ["a", "b", "c"])
    ] * 2
    record_property("measured", f"etcd stopped for {away:.0f} s: {done} commits meanwhile, none refused or repeated")


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("what", ["wiped", "restored from a backup"])
def test_no_node_with_data_founds_a_new_cluster(what: str) -> None:
    need_an_etcd_to_kill()
    with LocalCluster(3, "etcd") as cluster:
        first = cluster.status()
        commit(cluster, 1)
        cluster.kill(STORE)
        etcd, backup = cluster.directory / "etcd", cluster.directory / "backup"
        shutil.copytree(etcd, backup)
        cluster.start(STORE)
        cluster.wait_for("nodes find it again", lambda s: all(node["store_reachable"] for node in s["nodes"]))
        with cluster.admin() as admin:
            hand_over(admin, cluster)  # of which the backup does not know
        cluster.wait_in_sync()
        commit(cluster, 2)
        present = cluster.status()
        assert present["epoch"] > first["epoch"]

        cluster.kill(STORE)
        shutil.rmtree(etcd)
        if what != "wiped":
            backup.rename(etcd)
        cluster.start(STORE)
        commit(cluster, 3)
        assert_unchanged(cluster, present)
        commit(cluster, 4)

        for node in cluster.nodes:
            cluster.kill(node)
        for node in cluster.nodes:
            cluster.start(node, wait=False)
        for node in cluster.nodes:
            wait_until(f"{node} says why", lambda node=node: "springtide recover" in cluster.logs(node))
        assert not any(state["role"] == "primary" for state in cluster.status()["nodes"] if state["reachable"])
        recover_all(cluster, "none" if what == "wiped" else f"epoch {first['epoch']}, ")

        assert cluster.status()["cluster"] == first["cluster"]
        commit(cluster, 5)
        with contextlib.closing(cluster.storage()) as storage:
            assert [load_current(storage, p64(n))[0] for n in range(1, 6)] == [b"1", b"2", b"3", b"4", b"5"]
        check_equal(cluster)


def commit(cluster: LocalCluster, number: int) -> None:
    with contextlib.closing(cluster.storage()) as storage:
        store(storage, p64(number), z64, b"%d" % number)


def assert_unchanged(cluster: LocalCluster, present: dict[str, object]) -> None:
    now = cluster.status()
    assert {key: now[key] for key in ("cluster", "epoch", "primary")} == {
        key: present[key] for key in ("cluster", "epoch", "primary")
    }
    assert len(now["clusters"]) == 1


def recover_all(cluster: LocalCluster, record: str) -> None:
    """As an operator does it: look at every node, choose the one whose log ends last, and start them."""
    for node in cluster.nodes:
        cluster.kill(node)
    ends, epochs = {}, []
    for node in cluster.nodes:
        said = recover(cluster, node)
        assert said.return_value == 1 and "Nothing was changed" in said.output, said.output
        assert re.search(f"record now +{record}", said.output), "no node has written another one meanwhile"
        ends[node] = tuple(map(int, found(r"log ends at +(\d+)/(\d+)", said.output)))
        epochs.append(int(found(r"epoch promised +(\d+)", said.output)[0]))
    chosen = max(ends, key=lambda node: ends[node])
    done = recover(cluster, chosen, "--yes", "--epochs-seen", str(max(epochs)))
    assert done.return_value == 0, done.output
    for node in (chosen, *(node for node in cluster.nodes if node != chosen)):
        cluster.start(node, wait=False)
    cluster.wait_in_sync()


def found(pattern: str, text: str) -> tuple[str, ...]:
    match = re.search(pattern, text)
    assert match is not None, text
    return match.groups()


def recover(cluster: LocalCluster, node: str, *words: str) -> Result:
    arguments = ["recover", "--config", str(cluster.directory / f"{node}.toml"), *words]
    return CliRunner().invoke(command, arguments, standalone_mode=False)
