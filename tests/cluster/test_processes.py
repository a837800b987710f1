"""Processes as applications run them: they fork, use greenlets, end without a word."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import ZODB

from springtide.testing.cluster import LocalCluster
from tests.cluster import application_process

SCRIPT = Path(application_process.__file__)
FORKS = 200
#: An interpreter that has nothing to wait for ends in about a second; a busy machine takes its time.
END_SECONDS = 60.0


def run(cluster: LocalCluster, kind: str, *arguments: str, seconds: float = END_SECONDS) -> None:
    command = [sys.executable, str(SCRIPT), kind, ",".join(cluster.addresses), *arguments]
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            said = process.communicate(timeout=seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGUSR1)
            try:
                said = process.communicate(timeout=10)
            except subprocess.TimeoutExpired:
                process.kill()
                said = process.communicate()
            pytest.fail(f"not done within {seconds:.0f} s:\n{said}\n{cluster.logs()}")
        assert (process.returncode, *said) == (0, "", "")


@pytest.mark.slow
@pytest.mark.timeout(330)
def test_a_storage_works_in_parent_and_children_after_200_forks_under_load(cluster: LocalCluster) -> None:
    run(cluster, "forks", str(FORKS), seconds=300)


@pytest.mark.timeout(200)
def test_forks_share_the_directories_for_records_and_blobs(cluster: LocalCluster, tmp_path: Path) -> None:
    pytest.importorskip("lmdb", reason="not tried: lmdb is in the cache extra")

    run(cluster, "forks", "30", str(tmp_path), seconds=180)


def test_a_process_with_a_local_cluster_forks(cluster: LocalCluster) -> None:
    run(cluster, "tests_of_applications")


@pytest.mark.parametrize("kind", ["gevent", "gevent_forks", "gevent_storages"])
def test_greenlets_of_gevent_work_side_by_side_and_fork(cluster: LocalCluster, kind: str) -> None:
    pytest.importorskip("gevent", reason="not tried: gevent is in the test extra")

    run(cluster, kind)


@pytest.mark.parametrize(
    "kind", sorted(kind for kind in application_process.KINDS if kind[:6] not in ("gevent", "tests_"))
)
def test_an_interpreter_ends_at_once(cluster: LocalCluster, kind: str) -> None:
    run(cluster, kind)


def test_the_vote_of_a_process_that_ended_keeps_nobody_waiting(cluster: LocalCluster) -> None:
    run(cluster, "in_a_transaction")
    db = ZODB.DB(cluster.storage())
    began = time.monotonic()

    with db.transaction() as connection:
        connection.root()["mine"] = True

    assert time.monotonic() - began < 5
    db.close()
