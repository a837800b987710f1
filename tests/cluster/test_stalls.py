"""A replica that does not keep up stalls commits for as long as the configuration says; then they go on without it."""

from __future__ import annotations

import contextlib
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from springtide.testing.cluster import LocalCluster
from tests.cluster.disturber import hand_over
from tests.cluster.load import Load, check_equal, wait_until
from tests.facilities import need
from tests.faults.disks import HANG_SECONDS_MAX, Loop, missing

#: `stall_seconds`, unless it is configured.
LIMIT_SECONDS = 1.0
#: The primary looks eight times a second, and then the record is swapped; a machine that does much else takes longer.
SLACK_SECONDS = 2.0
#: Of one that is slow: for so long it does nothing, for so long it works.
AWAY_SECONDS, AWAKE_SECONDS, TURNS = 1.75, 0.25, 3

Recorder = Callable[[str, object], None]


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_with_a_replica_paused_commits_stall_for_the_limit_at_most(
    cluster: LocalCluster, tmp_path: Path, record_property: Recorder
) -> None:
    with Load(cluster, tmp_path, clients=2) as load:
        replica = replica_of(cluster)
        with measured(cluster, load, "paused", record_property):
            cluster.pause(replica)
            until_commits_go_on_without(cluster, load, replica)
        cluster.resume(replica)
        cluster.wait_in_sync(cluster.nodes)
    load.check()
    check_equal(cluster)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_with_a_replica_that_is_slow_each_stall_is_as_short(
    cluster: LocalCluster, tmp_path: Path, record_property: Recorder
) -> None:
    """It comes back in sync, and stalls commits again, and each time they go on without it."""
    nobody = threading.Event()
    with Load(cluster, tmp_path, clients=2) as load:
        replica = replica_of(cluster)
        with measured(cluster, load, "slow", record_property):
            for _ in range(TURNS):
                cluster.pause(replica)
                before = load.total()
                nobody.wait(AWAY_SECONDS)  # what makes it slow
                assert load.total() > before, "commits go on while it does nothing"
                cluster.resume(replica)
                nobody.wait(AWAKE_SECONDS)
        cluster.wait_in_sync(cluster.nodes)
    load.check()
    check_equal(cluster)


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_with_a_replica_whose_disk_hangs_commits_stall_for_the_limit_at_most(
    tmp_path: Path, record_property: Recorder
) -> None:
    need(not missing(Loop), f"a disk that hangs: {missing(Loop)}")
    place = tmp_path / "cluster" / "c"
    disk = Loop(place)
    (place / "lost+found").rmdir()
    try:
        with LocalCluster(3, directory=tmp_path / "cluster") as cluster:
            if cluster.primary() == "c":
                with cluster.admin() as admin:
                    hand_over(admin, cluster)
            cluster.wait_for("the disk is a replica's", lambda status: status["primary"] in ("a", "b"))
            cluster.wait_in_sync()
            with Load(cluster, tmp_path, clients=2) as load:
                with measured(cluster, load, "with a hung disk", record_property):
                    hung = disk.hang(HANG_SECONDS_MAX)
                    try:
                        until_commits_go_on_without(cluster, load, "c")
                    finally:
                        hung.communicate()
                cluster.wait_in_sync(cluster.nodes)
            load.check()
            check_equal(cluster)
    finally:
        subprocess.run(["umount", "--lazy", str(place)], check=True)


def replica_of(cluster: LocalCluster) -> str:
    return next(node for node in cluster.nodes if node != cluster.primary())


def until_commits_go_on_without(cluster: LocalCluster, load: Load, node: str) -> None:
    cluster.wait_for("it is not required any more", lambda status: node not in status["in_sync"])
    before = load.total()
    wait_until("commits go on without it", lambda: load.total() > before + 50)


@contextlib.contextmanager
def measured(cluster: LocalCluster, load: Load, what: str, record_property: Recorder) -> Iterator[None]:
    """No commit within the block takes longer than the limit, and what that needs; none is refused or retried."""
    counts = [len(load.committed(number)) for number in range(load.clients)]
    epoch = cluster.status()["epoch"]

    yield

    took = [
        each["ended"] - each["began"]
        for number in range(load.clients)
        for each in load.committed(number)[counts[number] :]
    ]
    record_property(
        "measured",
        f"a replica {what}: of {len(took)} commits the longest took {max(took):.2f} s (limit {LIMIT_SECONDS:g} s)",
    )
    assert LIMIT_SECONDS / 2 < max(took) <= LIMIT_SECONDS + SLACK_SECONDS
    assert not any(load.events(number, event) for number in range(load.clients) for event in ("failed", "retried"))
    assert cluster.status()["epoch"] == epoch, "nobody took the primary for lost"
