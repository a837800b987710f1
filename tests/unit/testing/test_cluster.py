"""What a local cluster refuses, in words, without starting anything."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from springtide.errors import Occupied
from springtide.testing import ClusterFailed, LocalCluster
from springtide.testing.directory import ClusterDirectory

CALLS: list[Callable[[LocalCluster], object]] = [
    lambda cluster: cluster.start("x"),
    lambda cluster: cluster.kill("x"),
    lambda cluster: cluster.wipe("x"),
    lambda cluster: cluster.address("x"),
    lambda cluster: cluster.logs("x"),
    lambda cluster: cluster.wait_in_sync(["a", "x"]),
]


@pytest.mark.parametrize("call", CALLS)
def test_a_node_that_is_not_there_is_told_with_those_that_are(call: Callable[[LocalCluster], object]) -> None:
    with pytest.raises(ValueError, match="no node 'x': there are a, b and \"store\""):
        call(LocalCluster(2))


def test_a_cluster_that_was_not_started_says_so() -> None:
    with pytest.raises(ClusterFailed, match="was not started"):
        LocalCluster(2).kill("a")


def test_a_directory_in_use_is_left_alone(tmp_path: Path) -> None:
    first = ClusterDirectory(tmp_path / "cluster")
    first.take()

    with (
        pytest.raises(Occupied, match="in use by another LocalCluster"),
        LocalCluster(1, directory=tmp_path / "cluster"),
    ):
        pass

    assert list((tmp_path / "cluster").iterdir()) == [], "nothing was written"
    first.release()
    assert ClusterDirectory(tmp_path / "cluster").take() == tmp_path / "cluster"


def test_a_temporary_directory_is_removed_and_a_named_one_is_kept(tmp_path: Path) -> None:
    for wanted in (None, tmp_path / "kept"):
        directory = ClusterDirectory(wanted)
        path = directory.take()
        assert path.is_dir()
        directory.release()
        directory.release()
        assert path.exists() == (wanted is not None)


def test_what_runs_is_neither_started_nor_wiped() -> None:
    with LocalCluster(1) as cluster:
        with pytest.raises(ClusterFailed, match="a runs already"):
            cluster.start("a")
        with pytest.raises(ClusterFailed, match="kill"):
            cluster.wipe("a")
        cluster.pause("a")
        with pytest.raises(ClusterFailed, match="resume"):
            cluster.start("a")
