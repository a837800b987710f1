"""A commit happens at most once, whatever is lost on the way."""

from __future__ import annotations

import signal
import threading

import pytest
from transaction.interfaces import TransientError
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ConflictError, POSError, ReadConflictError, StorageTransactionError
from ZODB.utils import z64

from springtide.client import errors
from springtide.wire.v1 import records_pb2 as records
from springtide.wire.v1 import session_pb2 as wire
from tests.unit.client.fake_node import Drop
from tests.unit.client.words import ROOT, commit, eventually, oid, voted


def test_a_session_lost_while_voting_is_voted_again(cluster, connect):
    storage = connect(cluster)
    cluster.drop("vote")

    tid = commit(storage, (ROOT, None, b"1"))

    assert storage.load(ROOT) == (b"1", tid)
    assert cluster.seen.count("vote") == 2


def test_a_session_lost_between_vote_and_finish_is_voted_again(cluster, connect):
    storage = connect(cluster)
    txn = voted(storage, (ROOT, None, b"1"))
    session = storage._cluster._roster.main
    cluster.nodes[0].drop_sessions()
    eventually(lambda: not session.alive)

    tid = storage.tpc_finish(txn)

    assert storage.load(ROOT) == (b"1", tid)
    assert cluster.seen.count("ask_outcome") == 0, "no Finish was sent, so there is nothing to ask"
    assert len(cluster.transactions) == 1


def test_a_finish_that_never_arrived_is_made_again(cluster, connect):
    storage = connect(cluster)
    cluster.drop("finish")

    tid = commit(storage, (ROOT, None, b"1"))

    assert storage.load(ROOT) == (b"1", tid)
    assert cluster.seen.count("ask_outcome") == 1
    assert len(cluster.transactions) == 1


def test_a_finish_whose_answer_was_lost_is_not_made_again(cluster, connect):
    storage = connect(cluster)
    cluster.drop("finished")
    told = []

    tid = storage.tpc_finish(voted(storage, (ROOT, None, b"1")), told.append)

    assert told == [tid] == [cluster.last]
    assert storage.lastTransaction() == tid
    assert storage.load(ROOT) == (b"1", tid)
    assert len(cluster.transactions) == 1


def test_after_never_a_changed_object_is_an_ordinary_conflict(cluster, connect):
    storage, other = connect(cluster), connect(cluster)
    first = commit(storage, (ROOT, None, b"1"))
    txn = voted(storage, (ROOT, first, b"2"))

    def change_and_drop():
        for key in list(cluster.work):
            cluster.release(key)
        commit(other, (ROOT, first, b"3"))
        raise Drop

    cluster.trip("finish", change_and_drop)
    with pytest.raises(ConflictError) as raised:
        storage.tpc_finish(txn)

    assert raised.value.serials == (cluster.last, first)
    assert len(cluster.transactions) == 2


def test_an_outcome_nobody_tells_is_said_to_be_unknown(cluster, connect):
    storage = connect(cluster, finish_timeout=0.3)
    txn = voted(storage, (ROOT, None, b"1"))

    def lose():
        cluster.primary = None
        cluster.nodes[0].drop_sessions()

    cluster.trip("finished", lose)
    with pytest.raises(errors.CommitOutcomeUnknown) as raised:
        storage.tpc_finish(txn)

    assert not isinstance(raised.value, TransientError)
    cluster.lead(cluster.nodes[0])
    assert storage.outcome(raised.value.transaction_id) == cluster.last


def test_a_forgotten_transaction_is_unknown(cluster, connect, monkeypatch):
    storage = connect(cluster)
    monkeypatch.setattr(cluster, "outcome", lambda ask: wire.Outcome(result=wire.Outcome.RESULT_FORGOTTEN))
    cluster.drop("finish")

    with pytest.raises(errors.CommitOutcomeUnknown):
        commit(storage, (ROOT, None, b"1"))


def test_a_finish_that_certainly_failed_and_cannot_be_repeated_is_not_transient(cluster, connect):
    storage = connect(cluster)
    txn = voted(storage, (ROOT, None, b"1"))
    cluster.drop("finish")
    cluster.refuse("vote", records.CODE_BELOW_MINIMUM)

    with pytest.raises(errors.NotCommitted) as raised:
        storage.tpc_finish(txn)

    assert not isinstance(raised.value, TransientError)
    assert cluster.transactions == []


def test_a_finish_goes_to_the_new_primary_when_the_old_one_is_cut_off(make_cluster, connect):
    """The old primary is alive and silent about this finish; only the others know better."""
    cluster = make_cluster(3)
    storage = connect(cluster)
    txn = voted(storage, (ROOT, None, b"1"))
    cut_off = threading.Event()

    def hang():
        def depose():
            with cluster.lock:  # nobody is told
                cluster.primary, cluster.epoch = cluster.nodes[1], cluster.epoch + 1

        depose()
        cut_off.wait(5)

    cluster.trip("finish", hang)
    tid = storage.tpc_finish(txn)
    cut_off.set()

    assert storage.load(ROOT) == (b"1", tid)
    assert len(cluster.transactions) == 1


def test_commits_follow_the_primary(make_cluster, connect):
    cluster = make_cluster(3)
    storage = connect(cluster)
    first = commit(storage, (ROOT, None, b"1"))

    cluster.lead(cluster.nodes[2])
    second = commit(storage, (ROOT, first, b"2"))
    cluster.nodes[2].stop()
    cluster.lead(cluster.nodes[1])
    third = commit(storage, (ROOT, second, b"3"))

    assert storage.load(ROOT) == (b"3", third)


def test_a_node_that_is_not_the_primary_says_who_is(make_cluster, connect):
    cluster = make_cluster(2)
    storage = connect(cluster)
    with cluster.lock:  # nobody is told
        cluster.primary, cluster.epoch = cluster.nodes[1], cluster.epoch + 1

    tid = commit(storage, (ROOT, None, b"1"))

    assert storage.load(ROOT) == (b"1", tid)


@pytest.mark.parametrize(
    ("code", "kind", "transient"),
    [
        (records.CODE_BELOW_MINIMUM, errors.TooFewInSync, True),
        (records.CODE_VOTE_TIMED_OUT, errors.VoteTimedOut, True),
        (records.CODE_VOTE_TIMED_OUT, ConflictError, True),
        (records.CODE_TOO_LARGE, errors.RecordTooLarge, False),
        (records.CODE_BAD_REQUEST, errors.RequestRefused, False),
        (records.CODE_NO_SPACE, errors.ClusterOutOfSpace, False),
        (records.CODE_INTERNAL, errors.NodeFailed, False),
    ],
)
def test_what_a_refused_vote_becomes(cluster, connect, code, kind, transient):
    storage = connect(cluster)
    cluster.refuse("vote", code, "because")

    with pytest.raises(kind, match="because") as raised:
        voted(storage, (ROOT, None, b"1"))

    assert isinstance(raised.value, POSError)
    assert isinstance(raised.value, TransientError) is transient


def test_without_a_primary_a_vote_fails_as_transient_and_says_why(cluster, connect):
    storage = connect(cluster, timeout=0.3)
    cluster.lead(None)

    with pytest.raises(errors.ClusterUnavailable, match="primary") as raised:
        voted(storage, (ROOT, None, b"1"))

    assert isinstance(raised.value, TransientError)


def test_a_record_above_the_limit_is_refused_before_it_travels(cluster, connect):
    cluster.record_bytes_max = 10
    storage = connect(cluster)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)

    with pytest.raises(errors.RecordTooLarge, match="11 bytes"):
        storage.store(ROOT, z64, b"x" * 11, "", txn)


def test_large_records_travel_in_parts(cluster, connect):
    storage = connect(cluster, cache_bytes=0)
    large, small = bytes(range(256)) * 8192, b"s"

    commit(storage, (oid(1), None, large), (oid(2), None, small), (oid(3), None, large[::-1]))

    assert storage.load(oid(1))[0] == large
    assert storage.load(oid(2))[0] == small
    assert storage.load(oid(3))[0] == large[::-1]


def test_transactions_on_one_storage_are_in_progress_at_the_same_time(cluster, connect):
    storage = connect(cluster)
    one = voted(storage, (oid(1), None, b"1"))
    two = voted(storage, (oid(2), None, b"2"))

    second, first = storage.tpc_finish(two), storage.tpc_finish(one)

    assert second < first
    assert storage.load(oid(1)) == (b"1", first)
    assert storage.load(oid(2)) == (b"2", second)


def test_an_aborted_vote_releases_its_locks(cluster, connect):
    storage = connect(cluster)
    storage.tpc_abort(voted(storage, (ROOT, None, b"1")))

    assert commit(storage, (ROOT, None, b"2"))


def test_an_empty_transaction_is_committed_as_any_other(cluster, connect):
    storage = connect(cluster)
    last = commit(storage, (ROOT, None, b"1"))
    txn, told = TransactionMetaData(b"nobody", b"nothing"), []
    storage.tpc_begin(txn)
    storage.tpc_vote(txn)

    tid = storage.tpc_finish(txn, told.append)

    assert tid > last
    assert told == [tid]
    assert storage.lastTransaction() == tid
    assert [t.tid for t in storage.iterator(tid)] == [tid]
    assert storage.load(ROOT) == (b"1", last)


def test_a_callback_may_load_what_is_not_cached(cluster, connect):
    storage = connect(cluster, cache_bytes=0)
    first = commit(storage, (ROOT, None, b"1"))
    seen = []

    txn = voted(storage, (ROOT, first, b"2"))
    storage.tpc_finish(txn, lambda tid: seen.append((tid, storage.load(ROOT))))

    assert seen == [(cluster.last, (b"1", first))]


def test_what_a_callback_raises_leaves_the_commit_in_place(cluster, connect):
    storage = connect(cluster)

    def fail(tid):
        raise RuntimeError("callback")

    with pytest.raises(RuntimeError):
        storage.tpc_finish(voted(storage, (ROOT, None, b"1")), fail)

    assert storage.load(ROOT) == (b"1", cluster.last)


def test_a_callback_must_not_commit(cluster, connect):
    storage = connect(cluster)

    def nested(tid):
        with pytest.raises(StorageTransactionError):
            voted(storage, (oid(5), None, b"2"))

    assert storage.tpc_finish(voted(storage, (ROOT, None, b"1")), nested)


def test_a_stale_read_check_is_a_read_conflict(cluster, connect):
    storage = connect(cluster)
    first = commit(storage, (ROOT, None, b"1"))
    second = commit(storage, (ROOT, first, b"2"))
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.checkCurrentSerialInTransaction(ROOT, first, txn)

    with pytest.raises(ReadConflictError) as raised:
        storage.tpc_vote(txn)

    assert (raised.value.oid, raised.value.serials) == (ROOT, (second, first))


def test_a_deleted_object_is_gone_and_its_past_is_not(cluster, connect):
    storage = connect(cluster)
    first = commit(storage, (ROOT, None, b"1"))
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.deleteObject(ROOT, first, txn)
    storage.tpc_vote(txn)
    gone = storage.tpc_finish(txn)

    with pytest.raises(KeyError):
        storage.load(ROOT)
    assert storage.loadBefore(ROOT, gone) == (b"1", first, gone)


def test_closing_the_storage_during_a_finish_leaves_its_outcome_unknown(cluster, connect):
    storage = connect(cluster)
    txn = voted(storage, (ROOT, None, b"1"))
    cluster.trip("finish", storage.close)

    with pytest.raises(errors.CommitOutcomeUnknown):
        storage.tpc_finish(txn)


@pytest.mark.parametrize("step", ["finish", "finished"])
def test_an_interrupted_finish_holds_up_nobody(cluster, connect, step):
    storage, other = connect(cluster), connect(cluster)
    txn = voted(storage, (ROOT, None, b"1"))
    go_on = threading.Event()
    cluster.trip(step, lambda: signal.raise_signal(signal.SIGINT) or go_on.wait(5))
    with pytest.raises(KeyboardInterrupt):
        storage.tpc_finish(txn)
    go_on.set()

    tid = commit(other, (oid(9), None, b"2"))

    eventually(lambda: storage.lastTransaction() == tid)
    assert storage.load(ROOT)[0] == b"1"


def test_a_commit_of_which_nobody_tells_what_was_before_it_is_made_and_shown_later(cluster, connect):
    storage = connect(cluster, finish_timeout=1)
    first = commit(storage, (ROOT, None, b"1"), (oid(1), None, b"other"))
    told = []
    cluster.untold = True
    cluster.drop("finished")

    at = storage.tpc_finish(voted(storage, (ROOT, first, b"2")), told.append)

    assert (told, storage.lastTransaction()) == ([], first)
    with pytest.raises(errors.ClusterUnavailable, match="which is committed"):
        storage.load(ROOT)
    assert storage.loadSerial(ROOT, at) == b"2"
    assert storage.load(oid(1)) == (b"other", first)
    cluster.untold = False
    cluster.nodes[0].drop_sessions()
    eventually(lambda: storage.lastTransaction() == at)
    assert told == [at]
    assert storage.load(ROOT) == (b"2", at)
    assert len(cluster.transactions) == 2
