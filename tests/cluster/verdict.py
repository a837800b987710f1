"""Everything that can be asked of a cluster that has healed, and of what its clients wrote down."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from springtide.testing.checkers import History, Outcome, check_everything
from springtide.testing.cluster import LocalCluster
from springtide.testing.recording import final_log, read_copy
from springtide.testing.workloads import read_final
from tests.cluster.load import check_equal


def commits(history: History) -> int:
    return sum(each.outcome is Outcome.OK and bool(each.writes) for each in history.operations)


def verdict(cluster: LocalCluster, history: History, workloads: Collection[str], directory: Path) -> list[str]:
    """All anomalies. No client runs any more; all nodes do, and are stopped (SIGSTOP) when this returns."""
    check_equal(cluster)
    cluster.wait_for("all is applied", lambda status: all(n["applied"] == n["commit"] for n in status["nodes"]))
    final = read_final(cluster.storage(sync="strict", blob_dir=directory / "final"), workloads)
    storage = cluster.storage(sync="strict")
    log = final_log(storage)
    storage.close()
    for node in cluster.nodes:
        cluster.pause(node)
    copies = [read_copy(node, cluster.data(node)) for node in cluster.nodes]
    return [str(each) for each in check_everything(history, log, copies, final)]
