"""What came ahead of its entry is on the disk, and named, when its transaction is acknowledged."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest
import ZODB

from springtide.spool import SPOOLED_FROM
from tests.powerloss.machines import Machines
from tests.powerloss.test_power_loss import Large

RECORDS = [Random(number).randbytes(2**20) for number in range(SPOOLED_FROM // 2**20 + 4)]


@pytest.mark.timeout(300)
def test_a_large_transaction_that_was_acknowledged_survives_the_loss_of_power_everywhere(tmp_path: Path) -> None:
    machines = Machines(tmp_path)
    with machines.cluster as cluster:
        db = ZODB.DB(cluster.storage())
        with db.transaction() as connection:
            for number, data in enumerate(RECORDS):
                connection.root()[number] = Large(data)
        with db.transaction() as connection:
            connection.root()["behind"] = True
        machines.kill(Random(0))
        db.close()

        machines.rebuild_first()
        machines.start()

        db = ZODB.DB(cluster.storage())
        with db.transaction() as connection:
            assert [connection.root()[number].data for number in range(len(RECORDS))] == RECORDS
            assert connection.root()["behind"]
        db.close()
