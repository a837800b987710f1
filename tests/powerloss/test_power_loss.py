"""All machines lose their power at once, under load: nothing that was acknowledged is lost. (A kill -9 proves nothing
of the kind: the kernel goes on and writes what it was given.)
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from random import Random

import pytest
import ZODB
from persistent import Persistent

from springtide.testing.checkers import History, check_commits
from springtide.testing.cluster import ClusterFailed
from springtide.testing.recording import final_log
from springtide.testing.workloads import WORKLOADS, Clients, set_up
from tests.cluster.load import wait_until_all_know
from tests.cluster.verdict import commits, verdict
from tests.facilities import ALL
from tests.powerloss.machines import Machines

#: Each with a cluster of its own, so that what a node copies anew stays little.
PARTS, TRIALS = (5, 10) if ALL else (1, 4)
COMMITS_EACH = 15

pytestmark = [pytest.mark.cluster, pytest.mark.slow]


def enough(clients: Clients, machines: Machines) -> None:
    so_far = commits(clients.history())
    machines.cluster.wait_for("clients commit", lambda _: commits(clients.history()) >= so_far + COMMITS_EACH)


def calm(machines: Machines, chance: Random) -> None:
    """Nothing else happens."""


def takeover(machines: Machines, chance: Random) -> None:
    primary = machines.cluster.primary()
    machines.cluster.kill(primary)
    time.sleep(chance.uniform(0.0, 0.5))
    machines.cluster.start(primary, wait=False)


def copying(machines: Machines, chance: Random) -> None:
    """A replica begins to copy all from another one."""
    primary = machines.cluster.primary()
    machines.replace_disk(chance.choice([node for node in machines.cluster.nodes if node != primary]))


def handover(machines: Machines, chance: Random) -> None:
    subprocess.run([sys.executable, "-m", "springtide", "handover", machines.cluster.uri], timeout=60, check=True)


#: What is under way when the power is lost.
TROUBLES = (calm, takeover, copying, handover)


@pytest.mark.timeout(60 * TRIALS + 120)
@pytest.mark.parametrize("part", range(PARTS))
def test_nothing_is_lost_when_all_lose_their_power(
    part: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    machines = Machines(tmp_path)
    with machines.cluster as cluster:
        set_up(cluster.storage(blob_dir=tmp_path / "setup"), WORKLOADS)
        wait_until_all_know(cluster)
        clients = Clients(cluster.addresses, tmp_path, tuple(WORKLOADS), processes=2)
        with clients:
            for trial in range(part * TRIALS, (part + 1) * TRIALS):
                chance = Random(trial)
                enough(clients, machines)
                TROUBLES[trial % len(TROUBLES)](machines, chance)
                time.sleep(chance.uniform(0.0, 1.5))  # the random moment
                machines.lose_power(None if trial % 3 == 0 else chance)  # every third time only what was synced is left
                machines.start()
            enough(clients, machines)
        history = clients.history()
        found = verdict(cluster, history, WORKLOADS, tmp_path)

    assert found == []
    record_property(
        "measured", f"power lost by all nodes {TRIALS} times: {commits(history)} commits acknowledged, 0 anomalies"
    )


def _log(path: str) -> bool:
    return "/log/" in path and path.endswith(".log")


def _state(path: str) -> bool:
    return "/state/" in path


#: Whose syncs are taken as never made, and what then tells. The state knows what the log must hold; without both,
#: commits are lost in silence.
PLANTS: dict[str, tuple[Callable[[str], bool], str]] = {
    "the log": (_log, r"the log in \S+ ends at lsn \d+, but lsn \d+ was applied"),
    "log and state": (
        lambda path: _log(path) or _state(path),
        r"lost commit: \S+ was acknowledged as \w+, and is not there",
    ),
    "blobs": (
        lambda path: "/blobs/" in path,
        r"is missing, the file of oid|the file of oid \w+ as of tid \w+ is not on this node",
    ),
}


@pytest.mark.timeout(420)
def test_the_same_run_fails_where_what_must_be_synced_is_not(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    machines = Machines(tmp_path)
    with machines.cluster as cluster:
        set_up(cluster.storage(blob_dir=tmp_path / "setup"), WORKLOADS)
        wait_until_all_know(cluster)
        clients = Clients(cluster.addresses, tmp_path, tuple(WORKLOADS), processes=2)
        clients.__enter__()
        enough(clients, machines)
        machines.kill(Random(0))
        history = clients.history()
        clients.kill()

        problems = {}
        for plant, (ignores, _) in PLANTS.items():
            machines.rebuild_first(ignores)
            problems[plant] = problems_of(machines, history, tmp_path / plant.replace(" ", "-"))
        machines.rebuild_first()
        assert problems_of(machines, history, tmp_path / "nothing") == ""

    for plant, (_, expected) in PLANTS.items():
        told = re.search(expected, problems[plant])
        assert told, f"with the syncs of {plant} ignored: {problems[plant]}"
        record_property("measured", f"power lost with {plant} not synced is noticed: {told[0]}")


def problems_of(machines: Machines, history: History, directory: Path) -> str:
    """What is wrong after all have started on what their disks hold; all are killed in the end."""
    directory.mkdir()
    try:
        machines.start()
        storage = machines.cluster.storage(sync="strict")
        lost = check_commits(history, final_log(storage))
        storage.close()
        return "\n".join(map(str, lost)) or "\n".join(verdict(machines.cluster, history, WORKLOADS, directory))
    except Exception as error:  # a node that ends meanwhile is met in many ways; its log says why it did
        return f"{error!r}\n{machines.cluster.logs()}"
    finally:
        machines.kill(Random(0))


class Large(Persistent):
    def __init__(self, data: bytes) -> None:
        self.data = data


@pytest.mark.timeout(420)
def test_a_log_that_is_trimmed_before_the_state_is_synced_would_be_found(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    """A segment of the log is 64 MiB: after 100 commits of a megabyte the first one is trimmed."""
    machines = Machines(tmp_path, log_retention_bytes=1)
    with machines.cluster as cluster:
        db = ZODB.DB(cluster.storage())
        for number in range(100):
            with db.transaction() as connection:
                connection.root()[number] = Large(Random(number).randbytes(2**20))
        cluster.wait_for(
            "the log is trimmed on all nodes",
            lambda _: not any((cluster.data(node) / "log" / f"{1:020d}.log").exists() for node in cluster.nodes),
        )
        db.close()
        machines.kill(Random(0))

        machines.rebuild_first(_state)
        with pytest.raises(ClusterFailed):
            machines.start()
        told = re.search(r"the log in \S+ begins after lsn \d+, but \S+ is applied", cluster.logs())
        machines.kill(Random(0))
        machines.rebuild_first()
        machines.start()

        storage = cluster.storage()
        assert sum(len(logged.writes) >= 1 for logged in final_log(storage).transactions) >= 100
        storage.close()
    assert told
    record_property("measured", f"power lost with a trimmed log and the state not synced is noticed: {told[0]}")
