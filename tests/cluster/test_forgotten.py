"""Ids of transactions are remembered for a while; then nobody says of an old one that it was never committed."""

from __future__ import annotations

import time

import pytest
from transaction.interfaces import TransientError
from ZODB.Connection import TransactionMetaData
from ZODB.utils import p64, z64

from springtide.client.errors import CommitOutcomeUnknown
from springtide.testing.cluster import LocalCluster


def commit(storage, serial=z64):
    """The id and the tid of a transaction."""
    transaction = TransactionMetaData()
    storage.tpc_begin(transaction)
    id_ = storage._transactions._current(transaction).begun.id
    storage.store(p64(1), serial, b"data", "", transaction)
    storage.tpc_vote(transaction)
    return id_, storage.tpc_finish(transaction)


@pytest.mark.timeout(120)
def test_the_outcome_of_an_old_transaction_is_unknown_and_that_of_a_young_one_is_known():
    with LocalCluster(3, settings={"outcomes_kept_seconds": 2.0}) as cluster:
        cluster.wait_in_sync()
        storage = cluster.storage()
        old, tid = commit(storage)
        assert storage.outcome(old) == tid

        deadline = time.monotonic() + 60
        while True:  # what was committed lately is remembered whatever the clock says, so something must be
            time.sleep(0.5)
            young, tid = commit(storage, tid)
            try:
                storage.outcome(old)
            except CommitOutcomeUnknown as unknown:
                assert not isinstance(unknown, TransientError)
                assert unknown.transaction_id == old
                break
            assert time.monotonic() < deadline, "the old transaction is still remembered"

        assert storage.outcome(young) == tid
        cluster.kill(cluster.primary())
        with pytest.raises(CommitOutcomeUnknown):
            storage.outcome(old)
        assert storage.outcome(young) == tid
        storage.close()
