"""A node with an empty directory joins a cluster that has something in it, while writes go on."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.utils import z64

from springtide.testing.cluster import LocalCluster
from tests.cluster.load import Load, check_equal

TRANSACTIONS, OBJECTS_EACH, RECORD = 1_000, 100, bytes(200)
#: Copying 100,000 small records takes a few seconds; ten times that is a fault, not a slow machine.
JOIN_SECONDS_MAX = 60.0


#: With the first, the log still begins at the beginning, and is fed to the node; with the second it does not.
@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize(("retention", "copies"), [("1GiB", False), ("4MiB", True)])
def test_an_empty_node_joins_while_writes_go_on(
    retention: str, copies: bool, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with LocalCluster(3, settings={"log_retention_bytes": retention}) as cluster:
        with Load(cluster, tmp_path, clients=2) as load:
            lost = next(node for node in cluster.nodes if node != cluster.primary())
            cluster.kill(lost)
            cluster.wipe(lost)
            began = time.monotonic()
            fill(cluster)
            filled = time.monotonic() - began
            before = load.total()

            began = time.monotonic()
            cluster.start(lost)
            cluster.wait_in_sync(cluster.nodes, JOIN_SECONDS_MAX)
            took = time.monotonic() - began

            written = load.total() - before
            assert ("copying the database" in cluster.logs(lost, 1_000)) == copies
        load.check()
        check_equal(cluster)
        objects = TRANSACTIONS * OBJECTS_EACH
        record_property(
            "measured",
            f"empty node, {'from a snapshot' if copies else 'from the log'}: {objects} objects in {TRANSACTIONS} "
            f"transactions written in {filled:.1f} s; in sync after {took:.1f} s, with {written} commits by others "
            "meanwhile",
        )
        assert written > 0


def fill(cluster: LocalCluster) -> None:
    storage = cluster.storage()
    for _ in range(TRANSACTIONS):
        meta = TransactionMetaData()
        storage.tpc_begin(meta)
        for _ in range(OBJECTS_EACH):
            storage.store(storage.new_oid(), z64, RECORD, "", meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)
    storage.close()
