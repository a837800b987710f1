"""A walk over all objects asks for many at a time, and never returns what it knows to be old."""

from __future__ import annotations

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError

from tests.unit.client.words import ROOT, commit, eventually, oid


@pytest.fixture
def storage(cluster, connect):
    return connect(cluster)


def walk(storage, start=None):
    found = []
    while True:
        name, tid, data, start = storage.record_iternext(start)
        found.append((name, tid, data))
        if start is None:
            return found


def test_every_object_comes_once_in_the_order_of_oids(cluster, storage):
    names = [oid(number) for number in (0, 1, 5, 6, 7, 20, 21, 22)]
    tid = commit(storage, *[(name, None, name) for name in reversed(names)])

    assert walk(storage) == [(name, tid, name) for name in names]
    assert cluster.seen.count("records") == 3, "three at a time"
    assert walk(storage, oid(6)) == [(name, tid, name) for name in names[3:]]
    assert walk(storage, oid(8)) == [(name, tid, name) for name in names[5:]]


def test_what_was_deleted_is_passed_over(storage):
    tid = commit(storage, (ROOT, None, b"0"), (oid(1), None, b"1"), (oid(2), None, b"2"))
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.deleteObject(oid(1), tid, txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)

    assert [name for name, _, _ in walk(storage)] == [ROOT, oid(2)]


def test_an_empty_database_has_nothing_to_walk_over(storage):
    with pytest.raises(POSKeyError):
        storage.record_iternext()


@pytest.mark.parametrize("who", ["this client", "another"])
def test_what_changes_during_a_walk_is_shown_as_it_is(cluster, connect, storage, who):
    tid = commit(storage, (ROOT, None, b"0"), (oid(1), None, b"1"), (oid(2), None, b"2"))
    assert storage.record_iternext() == (ROOT, tid, b"0", oid(1))

    later = commit(storage if who == "this client" else connect(cluster), (oid(1), tid, b"new"))
    eventually(lambda: storage.lastTransaction() == later)

    assert storage.record_iternext(oid(1)) == (oid(1), later, b"new", oid(2))


def test_what_appears_during_a_walk_is_not_passed_over(storage):
    tid = commit(storage, (ROOT, None, b"0"), (oid(1), None, b"1"), (oid(9), None, b"9"))
    assert storage.record_iternext() == (ROOT, tid, b"0", oid(1))

    commit(storage, (oid(5), None, b"5"))

    assert storage.record_iternext(oid(1)) == (oid(1), tid, b"1", oid(5))


def test_changes_elsewhere_cost_nothing(cluster, storage):
    tid = commit(storage, *[(oid(number), None, b"x") for number in range(6)])
    storage.record_iternext()

    commit(storage, (oid(5), tid, b"y"))
    storage.record_iternext(oid(1))
    storage.record_iternext(oid(2))

    assert cluster.seen.count("records") == 1


def test_a_change_while_the_page_travels_drops_what_was_fetched_ahead(cluster, connect, storage):
    tid = commit(storage, (ROOT, None, b"0"), (oid(1), None, b"1"))
    other = connect(cluster)

    def change():
        at = commit(other, (oid(1), tid, b"new"))
        eventually(lambda: storage.lastTransaction() == at)

    cluster.trip("records", change)
    storage.record_iternext()
    storage.record_iternext(oid(1))

    assert cluster.seen.count("records") == 2


def test_a_large_record_is_put_together(storage):
    tid = commit(storage, (ROOT, None, b"large" * 100_000), (oid(1), None, b"1"))

    assert walk(storage) == [(ROOT, tid, b"large" * 100_000), (oid(1), tid, b"1")]
