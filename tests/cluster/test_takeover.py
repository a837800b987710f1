"""The primary is killed under load, ten times in a row: nothing lost, none doubled, and writes go on."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from BTrees.Length import Length

from springtide.testing.cluster import LocalCluster, Store
from tests.cluster.load import Load, check_equal

KILLS = 10
#: What is promised in the median; a machine that also runs other tests may need longer once in a while.
MEDIAN_SECONDS_MAX, WORST_SECONDS_MAX = 1.0, 15.0


@pytest.mark.slow
@pytest.mark.timeout(420)
@pytest.mark.parametrize("store", ["embedded", "etcd"])
def test_kill_9_of_the_primary_ten_times_under_load(
    store: Store, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    chance = random.Random(store)
    took: list[float] = []

    with LocalCluster(3, store) as cluster:
        with Load(cluster, tmp_path) as load:
            for kill in range(KILLS):
                cluster.wait_in_sync()
                time.sleep(chance.uniform(0.2, 1.0))  # the random moment
                held = chance.randrange(load.clients) if kill % 2 else None
                if held is not None:
                    load.hold_one(held)
                primary = cluster.primary()
                cluster.kill(primary)
                killed_at = time.monotonic()
                if held is not None:
                    load.hold(held).unlink()
                took.append(load.first_commit_begun_after(killed_at) - killed_at)
                assert cluster.primary() != primary
                cluster.start(primary)
            cluster.wait_in_sync()
        figures = load.check()
        check_equal(cluster)

    record_property(
        "measured",
        f"takeover, {store}: {KILLS} kills: {figures}; writes went on after {statistics.median(took):.2f} s in the "
        f"median, {max(took):.2f} s at worst",
    )
    assert statistics.median(took) <= MEDIAN_SECONDS_MAX
    assert max(took) <= WORST_SECONDS_MAX


@pytest.mark.timeout(120)
def test_a_conflict_met_after_a_takeover_is_resolved_and_its_result_is_seen() -> None:
    """Between vote and finish the primary is killed, and somebody else changes the object under the next one."""
    with LocalCluster(3) as cluster:
        storage = cluster.storage()
        ours, theirs = ZODB.DB(storage), ZODB.DB(cluster.storage(sync="strict"))
        with ours.transaction() as connection:
            connection.root()["count"] = Length()
        finish = storage.tpc_finish

        def finish_late(*arguments: Any) -> Any:
            storage.tpc_finish = finish
            cluster.kill(cluster.primary())
            with theirs.transaction() as connection:
                connection.root()["count"].change(10)
            return finish(*arguments)

        storage.tpc_finish = finish_late
        manager = transaction.TransactionManager()
        connection = ours.open(manager)
        count = connection.root()["count"]
        count.change(1)
        manager.commit()

        assert count() == 11, "what was resolved, and not what this connection wrote"
        count.change(100)
        manager.commit()
        with theirs.transaction() as other:
            assert other.root()["count"]() == 111
        connection.close()
        ours.close()
        theirs.close()
