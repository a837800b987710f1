"""Everything that clients saw while primaries were killed and handed over, checked against everything promised."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import ZODB
from click.testing import CliRunner
from ZODB.POSException import ReadConflictError

from springtide.cli.main import springtide as command
from springtide.testing.checkers import Level, Outcome, check_appends, check_everything, check_record_cycles
from springtide.testing.cluster import LocalCluster
from springtide.testing.recording import RecordedStorage, Recorder, Session, final_log, read_history
from springtide.testing.workloads import WORKLOADS, Clients, read_final, set_up
from tests.cluster.load import wait_until_all_know
from tests.cluster.verdict import commits, verdict
from tests.facilities import ALL

SECONDS = 30.0 if ALL else 15.0
COMMITS_MIN = 50


def kill_the_primary(cluster: LocalCluster) -> None:
    primary = cluster.primary()
    cluster.kill(primary)
    assert cluster.primary() != primary
    cluster.start(primary)


def hand_over(cluster: LocalCluster) -> None:
    primary = cluster.primary()
    done = CliRunner().invoke(command, ["handover", cluster.uri])
    assert done.exit_code == 0, done.output
    assert cluster.primary() != primary


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_no_promise_is_broken_while_primaries_are_killed_and_handed_over(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(4)
    with LocalCluster(3) as cluster:
        set_up(cluster.storage(blob_dir=tmp_path / "setup"), WORKLOADS)
        wait_until_all_know(cluster)
        clients = Clients(cluster.addresses, tmp_path, tuple(WORKLOADS))
        faults = 0
        with clients:
            until = time.monotonic() + SECONDS
            while time.monotonic() < until:
                cluster.wait_in_sync()
                (hand_over if faults == 1 else kill_the_primary)(cluster)
                faults += 1
                before = cluster.status()["commit"]
                cluster.wait_for("commits go on", lambda status, so_far=before: status["commit"] > so_far + 5)  # type: ignore[misc]
                time.sleep(chance.uniform(0.5, 2.0))  # the random moment
        history = clients.history()
        found = verdict(cluster, history, WORKLOADS, tmp_path)

    assert commits(history) >= COMMITS_MIN
    assert faults >= 3
    assert found == []
    counted = ", ".join(f"{history.counted(outcome)} {outcome.value}" for outcome in Outcome)
    record_property(
        "measured",
        f"checked history: {len(history.operations)} transactions ({counted}), {commits(history)} commits "
        f"acknowledged, {faults} primaries killed or handed over, 0 anomalies",
    )


@pytest.mark.parametrize("checked", [False, True], ids=["without readCurrent", "with readCurrent"])
def test_write_skew_is_allowed_unless_the_reads_are_checked(checked: bool, tmp_path: Path) -> None:
    with LocalCluster(1) as cluster:
        set_up(cluster.storage(), ["append"])
        recorder = Recorder(tmp_path / "history.jsonl", "client")
        storage = RecordedStorage(list(cluster.addresses), recorder)
        db = ZODB.DB(storage)
        one, other = (Session(db, storage, recorder, name, False) for name in ("one", "other"))

        def append(session: Session, mine: int, number: int, between: Callable[[], object] = lambda: None) -> object:
            lists = session.root["lists"]
            read = {name: session.read(lists[name]) for name in (1, 2)}
            reads = {str(name): each.values for name, each in read.items()}
            if checked:
                session.check(read[3 - mine])
            between()
            read[mine].values += (number,)
            covered = [str(3 - mine)] if checked else []
            return {"kind": "append", "reads": reads, "appends": [[str(mine), number]], "covered": covered}

        def skewed() -> None:
            notes, storage.notes = storage.notes, None
            assert other.attempt(lambda session: append(session, 2, 20)) is Outcome.OK
            storage.notes = notes

        outcome = one.attempt(lambda session: append(session, 1, 10, between=skewed))

        for session in (one, other):
            session.close()
        log = final_log(storage)
        db.close()
        final = read_final(cluster.storage(), ["append"])
        history = read_history([tmp_path / "history.jsonl"])

    assert outcome is (Outcome.FAIL if checked else Outcome.OK)
    assert check_everything(history, log, final=final) == []
    found = [] if checked else ["G2"]
    assert [each.kind for each in check_record_cycles(history, log, Level.SERIALIZABLE)] == found
    assert [each.kind for each in check_appends(history, final.lists, Level.SERIALIZABLE)] == found
    failed = [each.error for each in history.operations if each.outcome is Outcome.FAIL]
    assert [error.partition(":")[0] for error in failed] == ([ReadConflictError.__name__] if checked else [])
