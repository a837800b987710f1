"""Undo against a cluster in memory: what others commit meanwhile is never lost, and never half undone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import MultipleUndoErrors, POSKeyError, ReadOnlyError, StorageTransactionError, UndoError

from springtide.client import errors
from springtide.client.transaction import Buffer
from springtide.client.undoing import Undoing
from springtide.records.ids import TID_MAX, tid
from springtide.wire.v1 import session_pb2 as wire
from tests.unit.client.fake_node import Drop
from tests.unit.client.words import ROOT, begun, commit, counted, counter, eventually, oid, undo


@pytest.fixture
def storage(cluster, connect):
    return connect(cluster)


@pytest.fixture
def other(cluster, connect):
    return connect(cluster)


def test_the_newest_transaction_is_undone_and_undone_again(cluster, storage):
    first = commit(storage, (ROOT, None, b"1"))
    second = commit(storage, (ROOT, first, b"2"))

    third = undo(storage, second)
    assert storage.load(ROOT) == (b"1", third)
    assert cluster.transactions[-1][1][0].data_tid == first
    fourth = undo(storage, third)
    assert storage.load(ROOT) == (b"2", fourth)


def test_undoing_a_creation_takes_the_object_away_and_undoing_that_brings_it_back(storage):
    first = commit(storage, (ROOT, None, b"1"))

    second = undo(storage, first)
    with pytest.raises(POSKeyError):
        storage.load(ROOT)
    with pytest.raises(POSKeyError):
        storage.loadBefore(ROOT, TID_MAX)
    assert storage.loadBefore(ROOT, second) == (b"1", first, second)

    undo(storage, second)
    assert storage.load(ROOT)[0] == b"1"


def test_several_transactions_are_undone_in_one(storage):
    made = [commit(storage, (ROOT, None, b"0"))]
    for number in (b"1", b"2", b"3"):
        made.append(commit(storage, (ROOT, made[-1], number)))

    undo(storage, made[3], made[2], made[1])

    assert storage.load(ROOT)[0] == b"0"


def test_a_transaction_of_many_and_of_large_objects_is_undone_page_after_page(storage):
    names = [oid(number) for number in range(1, 9)]
    first = commit(storage, *[(name, None, name * 40_000) for name in names])
    second = commit(storage, *[(name, first, b"changed") for name in names])

    undo(storage, second)

    for name in names:
        assert storage.load(name)[0] == name * 40_000


def test_what_was_changed_later_is_not_undone_and_the_error_says_which_and_why(storage):
    first = commit(storage, (ROOT, None, b"1"), (oid(1), None, b"1"))
    second = commit(storage, (ROOT, first, b"2"), (oid(1), first, b"2"))
    commit(storage, (ROOT, second, b"3"))

    txn = begun(storage)
    with pytest.raises(MultipleUndoErrors) as caught:
        storage.undo(second, txn)
    for said in (ROOT.hex()[-2:], second.hex(), "changed by a later transaction"):
        assert said in str(caught.value)
    with pytest.raises(UndoError, match="an undo in this transaction has failed"):
        storage.tpc_vote(txn)  # the other object must not be undone alone
    storage.tpc_abort(txn)
    assert storage.load(oid(1))[0] == b"2"


def test_what_was_changed_since_is_merged(storage):
    first = commit(storage, (ROOT, None, counter(0)))
    second = commit(storage, (ROOT, first, counter(5)))
    commit(storage, (ROOT, second, counter(7)))

    undo(storage, second)

    assert counted(storage) == 2


@pytest.mark.parametrize("late", ["vote", "finish"])
def test_a_change_that_commits_during_an_undo_is_merged_with_it(cluster, storage, other, late):
    """At the vote, and where the finish never arrived and the transaction is voted again."""
    first = commit(storage, (ROOT, None, counter(0)))
    second = commit(storage, (ROOT, first, counter(5)))
    txn = begun(storage, second)

    def change():
        for key in list(cluster.work):
            cluster.release(key)
        commit(other, (ROOT, second, counter(7)))
        if late == "finish":
            raise Drop

    cluster.trip(late, change)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)

    assert counted(storage) == 2
    eventually(lambda: counted(other) == 2)


def test_a_change_that_commits_during_an_undo_and_cannot_be_merged_is_kept(cluster, storage, other):
    first = commit(storage, (ROOT, None, b"1"))
    second = commit(storage, (ROOT, first, b"2"))
    txn = begun(storage, second)
    cluster.trip("vote", lambda: commit(other, (ROOT, second, b"3")))

    with pytest.raises(UndoError, match="cannot be merged"):
        storage.tpc_vote(txn)
    storage.tpc_abort(txn)

    assert storage.load(ROOT)[0] == b"3"


def test_a_change_that_cannot_be_merged_with_an_undo_that_was_voted_is_kept(cluster, storage, other):
    first = commit(storage, (ROOT, None, b"1"))
    second = commit(storage, (ROOT, first, b"2"))
    txn = begun(storage, second)
    storage.tpc_vote(txn)

    def change_and_drop():
        for key in list(cluster.work):
            cluster.release(key)
        commit(other, (ROOT, second, b"3"))
        raise Drop

    cluster.trip("finish", change_and_drop)
    with pytest.raises(errors.NotCommitted, match="cannot be merged"):
        storage.tpc_finish(txn)
    storage.tpc_abort(txn)

    assert other.load(ROOT)[0] == b"3"


def test_several_undos_of_one_object_are_repeated_in_their_order(cluster, storage, other):
    made = [commit(storage, (ROOT, None, counter(0)))]
    for value in (1, 3):
        made.append(commit(storage, (ROOT, made[-1], counter(value))))
    txn = begun(storage, made[2], made[1])
    cluster.trip("vote", lambda: commit(other, (ROOT, made[2], counter(10))))

    storage.tpc_vote(txn)
    storage.tpc_finish(txn)

    assert counted(storage) == 7


def test_two_clients_that_undo_the_same_creation_take_it_away_once(cluster, storage, other):
    first = commit(storage, (ROOT, None, b"1"))
    txn = begun(storage, first)
    cluster.trip("vote", lambda: undo(other, first))

    with pytest.raises(UndoError, match="deleted by a later transaction"):
        storage.tpc_vote(txn)
    storage.tpc_abort(txn)

    assert len(cluster.transactions) == 2


@pytest.mark.parametrize(("known", "of_primary"), [(4, True), (5, False), (6, False)])
def test_a_transaction_newer_than_all_this_client_knows_is_asked_of_the_primary(known, of_primary):
    """Its id came from another process, and any other node may not have it yet."""
    asked = []

    def ask(make, of_primary=False):
        asked.append((make().undo_read.floor, of_primary))
        return [wire.Past(tid=tid(5), status=b" ")], wire.Done()

    undoing = Undoing(SimpleNamespace(ask=ask), SimpleNamespace(last=lambda: tid(known)), None)

    assert list(undoing.writes(tid(5), Buffer())) == []
    assert asked == [(tid(known), of_primary)]


def test_what_was_packed_is_not_undone(cluster, storage):
    first = commit(storage, (ROOT, None, b"1"))
    cluster.packed = first

    with pytest.raises(UndoError, match=f"{first.hex()} cannot be undone: the database was packed"):
        undo(storage, first)


def test_what_is_packed_before_the_vote_is_not_undone(cluster, storage):
    first = commit(storage, (ROOT, None, b"1"))
    txn = begun(storage, first)
    cluster.packed = first

    with pytest.raises(UndoError, match="it was packed"):
        storage.tpc_vote(txn)
    storage.tpc_abort(txn)


def test_a_transaction_that_was_packed_elsewhere_is_not_undone(storage):
    txn = TransactionMetaData()
    storage.tpc_begin(txn, tid(9), "p")
    storage.restore(ROOT, tid(9), b"1", "", None, txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)

    assert storage.undoLog() == []
    with pytest.raises(UndoError, match="its status is 'p'"):
        undo(storage, tid(9))


@pytest.mark.parametrize("unknown", [tid(3), b"", b"nonsense!!", b"x" * 12])
def test_what_is_no_transaction_is_not_undone(storage, unknown):
    commit(storage, (ROOT, None, b"1"))

    with pytest.raises(UndoError):
        undo(storage, unknown)


def test_nothing_is_undone_after_the_vote_in_no_transaction_or_read_only(cluster, connect, storage):
    first = commit(storage, (ROOT, None, b"1"))
    txn = begun(storage, first)
    storage.tpc_vote(txn)

    with pytest.raises(StorageTransactionError):
        storage.undo(first, txn)
    with pytest.raises(StorageTransactionError):
        storage.undo(first, TransactionMetaData())
    with pytest.raises(ReadOnlyError):
        connect(cluster, read_only=True).undo(first, txn)
    storage.tpc_abort(txn)
