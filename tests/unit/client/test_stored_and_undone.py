"""What callers of a storage's own methods may do: store an object and undo a change of it in one transaction."""

from __future__ import annotations

import pytest
from ZODB.POSException import ConflictError

from tests.unit.client.fake_node import Drop
from tests.unit.client.words import ROOT, begun, commit, counted, counter, eventually


@pytest.fixture
def storage(cluster, connect):
    return connect(cluster)


@pytest.fixture
def other(cluster, connect):
    return connect(cluster)


def storing(storage, *written):
    """A transaction that stores ``(oid, serial, data)``, open."""
    txn = begun(storage)
    for name, serial, data in written:
        storage.store(name, serial, data, "", txn)
    return txn


@pytest.mark.parametrize("late", ["never", "before", "vote", "finish"])
def test_what_is_stored_and_undone_in_one_transaction_keeps_what_was_stored_and_what_others_commit(
    cluster, storage, other, late
):
    """Whenever another one commits: before the undo, at the vote, or before the transaction is voted again."""
    first = commit(storage, (ROOT, None, counter(0)))
    second = commit(storage, (ROOT, first, counter(5)))
    txn = storing(storage, (ROOT, second, counter(6)))

    def change():
        for key in list(cluster.work):
            cluster.release(key)
        commit(other, (ROOT, second, counter(27)))
        if late == "finish":
            raise Drop

    if late == "before":
        change()
        eventually(lambda: counted(storage) == 27)
    elif late != "never":
        cluster.trip(late, change)
    storage.undo(second, txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)

    assert counted(storage) == (1 if late == "never" else 23)


def test_what_is_stored_again_as_it_was_and_undone_is_what_it_was_before(storage):
    first = commit(storage, (ROOT, None, b"1"))
    second = commit(storage, (ROOT, first, b"2"))
    txn = storing(storage, (ROOT, second, b"2"))

    storage.undo(second, txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)

    assert storage.load(ROOT)[0] == b"1"


def test_what_is_stored_after_an_undo_stays(storage):
    first = commit(storage, (ROOT, None, b"1"))
    second = commit(storage, (ROOT, first, b"2"))
    txn = begun(storage, second)
    storage.store(ROOT, second, b"3", "", txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)

    assert storage.load(ROOT)[0] == b"3"


@pytest.mark.parametrize("late", [False, True])
def test_a_store_that_conflicts_is_a_conflict_also_beneath_an_undo(cluster, storage, other, late):
    first = commit(storage, (ROOT, None, b"1"))
    second = commit(storage, (ROOT, first, b"2"))
    txn = storing(storage, (ROOT, second, b"2"))
    if late:
        storage.undo(second, txn)
    commit(other, (ROOT, second, b"3"))

    with pytest.raises(ConflictError) as caught:
        storage.tpc_vote(txn) if late else storage.undo(second, txn)
    storage.tpc_abort(txn)

    assert caught.value.oid == ROOT
    assert storage.load(ROOT)[0] == b"3"
