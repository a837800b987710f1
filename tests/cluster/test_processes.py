"""Processes as applications run them: they fork, use greenlets, end without a word."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import ZODB

from springtide.testing.cluster import LocalCluster
from tests.cluster import application_process

SCRIPT = Path(application_process.__file__)
FORKS = 200
#: An interpreter that has nothing to wait for ends in about a second; a busy machine takes its time.
END_SECONDS = 60.0


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(3) as cluster:
        yield cluster


def run(cluster: LocalCluster, kind: str, *arguments: str, seconds: float = END_SECONDS) -> None:
    command = [sys.executable, str(SCRIPT), kind, ",".join(cluster.addresses), *arguments]
    environment = {**os.environ, "GRPC_VERBOSITY": "NONE"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds, env=environment)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.slow
@pytest.mark.timeout(330)
def test_a_storage_works_in_parent_and_children_after_200_forks_under_load(cluster: LocalCluster) -> None:
    run(cluster, "forks", str(FORKS), seconds=300)


@pytest.mark.timeout(200)
def test_forks_share_the_directories_for_records_and_blobs(cluster: LocalCluster, tmp_path: Path) -> None:
    pytest.importorskip("lmdb", reason="not tried: lmdb is in the cache extra")

    run(cluster, "forks", "30", str(tmp_path), seconds=180)


def test_greenlets_of_gevent_work_side_by_side_and_fork(cluster: LocalCluster) -> None:
    pytest.importorskip("gevent", reason="not tried: gevent is in the test extra")

    run(cluster, "gevent")


@pytest.mark.parametrize("kind", sorted(set(application_process.KINDS) - {"gevent"}))
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
