"""Reads are exact at their snapshot, wherever they are served, and go on while nodes come and go."""

from __future__ import annotations

import gc
import os
import threading
import time
import weakref

import pytest
import ZODB
from transaction.interfaces import TransientError
from ZODB.interfaces import IStorage
from ZODB.MappingStorage import MappingStorage
from ZODB.POSException import POSKeyError, ReadOnlyError
from ZODB.utils import maxtid
from zope.interface import providedBy
from zope.interface.verify import verifyObject

from springtide.client import errors
from springtide.client.storage import ClusterStorage
from springtide.records.ids import TID_ZERO, next_tid
from springtide.wire.v1 import records_pb2 as records
from tests.unit.client.words import ROOT, commit, eventually, oid, voted


class Wrapper:
    """What ZODB registers: it remembers what it is told."""

    def __init__(self):
        self.invalidated = []
        self.dropped = 0

    def invalidate(self, tid, oids):
        self.invalidated.append((tid, set(oids)))

    def invalidateCache(self):
        self.dropped += 1

    def transform_record_data(self, data):
        return data

    untransform_record_data = transform_record_data


def test_everything_declared_is_there(cluster, connect):
    storage = connect(cluster)
    assert IStorage.providedBy(storage)
    for interface in providedBy(storage):
        verifyObject(interface, storage)


def test_a_second_load_asks_nobody(cluster, connect):
    tid = commit(connect(cluster), (ROOT, None, b"1"))
    storage = connect(cluster)
    storage.loadBefore(ROOT, maxtid)

    assert storage.loadBefore(ROOT, maxtid) == (b"1", tid, None)
    assert cluster.seen.count("load") == 1


def test_what_others_commit_is_told_in_order(cluster, connect):
    storage, other, wrapper = connect(cluster), connect(cluster), Wrapper()
    storage.registerDB(wrapper)
    first = commit(other, (oid(1), None, b"1"), (oid(2), None, b"2"))
    second = commit(other, (oid(1), first, b"3"))
    eventually(lambda: storage.lastTransaction() == second)

    assert wrapper.invalidated == [(first, {oid(1), oid(2)}), (second, {oid(1)})]
    assert storage.lastInvalidations(1) == [(second, [oid(1)])]
    assert storage.loadBefore(oid(1), second) == (b"1", first, second)
    assert storage.load(oid(1)) == (b"3", second)


def test_own_commits_are_not_told_to_the_wrapper(cluster, connect):
    storage, wrapper = connect(cluster), Wrapper()
    storage.registerDB(wrapper)

    commit(storage, (ROOT, None, b"1"))

    assert wrapper.invalidated == []


def test_what_was_missed_is_told_after_coming_back(cluster, connect):
    storage, other, wrapper = connect(cluster), connect(cluster), Wrapper()
    storage.registerDB(wrapper)
    first = commit(storage, (ROOT, None, b"1"))
    node, other_commits = cluster.nodes[0], threading.Event()
    others = _session_of(other, node)
    cluster.trip("hello", lambda: other_commits.wait(5))
    for session in [s for s in node.sessions if s is not others]:
        session.out.put(None)
    eventually(lambda: node.sessions == [others])
    second = commit(other, (ROOT, first, b"2"))
    other_commits.set()
    eventually(lambda: storage.lastTransaction() == second)

    assert wrapper.invalidated[-1] == (second, {ROOT})
    assert storage.load(ROOT) == (b"2", second)


def _session_of(storage, node):
    """The fake's end of a storage's session: the one that answers when it asks."""
    before = len(node.cluster.seen)
    voting = voted(storage, (oid(77), None, b""))
    work = next(iter(node.cluster.work.values()))
    storage.tpc_abort(voting)
    assert len(node.cluster.seen) > before
    return work.session


def test_what_a_pack_took_away_while_nobody_listened_is_told_later(cluster, connect):
    writer = connect(cluster)
    first = commit(writer, (ROOT, None, b"same"), (oid(1), None, b"old"), (oid(2), None, b"gone"))
    storage = connect(cluster)
    wrapper = Wrapper()
    storage.registerDB(wrapper)
    for name in (ROOT, oid(1), oid(2)):
        storage.loadBefore(name, maxtid)
    node = cluster.nodes[0]
    node.stop()
    second = cluster.write(oid(1), b"new")
    cluster.purge(oid(2), told=False)
    node.start()
    eventually(lambda: storage.lastTransaction() == second)
    loads = node.loads

    assert storage.loadBefore(ROOT, maxtid) == (b"same", first, None)
    assert (node.loads, node.unchanged) == (loads, 0)
    assert storage.loadBefore(oid(1), maxtid) == (b"new", second, None)
    with pytest.raises(POSKeyError):
        storage.loadBefore(oid(2), maxtid)
    assert wrapper.dropped == 0
    assert {name for _, names in wrapper.invalidated for name in names} == {oid(1), oid(2)}


def test_what_a_pack_takes_away_is_forgotten_at_once(cluster, connect):
    storage = connect(cluster)
    commit(storage, (ROOT, None, b"1"))
    storage.loadBefore(ROOT, maxtid)
    wrapper = Wrapper()
    storage.registerDB(wrapper)
    cluster.purge(ROOT)
    eventually(lambda: wrapper.invalidated)

    with pytest.raises(POSKeyError):
        storage.loadBefore(ROOT, maxtid)
    assert wrapper.invalidated == [(storage.lastTransaction(), {ROOT})]


def test_reads_are_spread_over_the_nodes(make_cluster, connect):
    cluster = make_cluster(3)
    storage = connect(cluster, cache_bytes=0)
    commit(storage, (ROOT, None, b"1"))

    def spread():
        storage.load(ROOT)
        return all(node.loads for node in cluster.nodes)

    eventually(spread)


def test_a_node_that_is_behind_is_passed_over(make_cluster, connect):
    cluster = make_cluster(3)
    storage = connect(cluster, cache_bytes=0)
    cluster.nodes[1].frozen_at = cluster.nodes[2].frozen_at = TID_ZERO
    tid = commit(storage, (ROOT, None, b"1"))
    eventually(lambda: len(storage._cluster._roster.readers) == 2)

    assert [storage.load(ROOT) for _ in range(50)] == [(b"1", tid)] * 50


@pytest.mark.parametrize("code", [records.CODE_DAMAGED, records.CODE_INTERNAL, records.CODE_STOPPING])
def test_a_node_that_fails_is_passed_over(cluster, connect, code):
    storage = connect(cluster, cache_bytes=0)
    tid = commit(storage, (ROOT, None, b"1"))
    cluster.refuse("load", code)

    assert storage.load(ROOT) == (b"1", tid)


def test_reads_go_on_without_a_primary(make_cluster, connect):
    cluster = make_cluster(2)
    storage = connect(cluster, cache_bytes=0)
    tid = commit(storage, (ROOT, None, b"1"))
    cluster.nodes[0].stop()
    cluster.lead(None)

    assert storage.load(ROOT) == (b"1", tid)


def test_without_any_node_a_load_fails_as_transient(cluster, connect):
    storage = connect(cluster, cache_bytes=0, timeout=0.5)
    commit(storage, (ROOT, None, b"1"))
    cluster.nodes[0].stop()

    with pytest.raises(errors.ClusterUnavailable, match=cluster.addresses[0]) as raised:
        storage.load(ROOT)

    assert isinstance(raised.value, TransientError)


def test_what_is_cached_is_read_without_any_node(cluster, connect):
    storage = connect(cluster)
    tid = commit(storage, (ROOT, None, b"1"))
    cluster.nodes[0].stop()

    assert storage.load(ROOT) == (b"1", tid)
    assert storage.lastTransaction() == tid


def test_a_silent_node_is_given_up(cluster, connect, monkeypatch):
    from springtide.client import roster

    monkeypatch.setattr(roster, "SILENT_SECONDS", 0.1)
    monkeypatch.setattr(roster, "LIFELESS_SECONDS", 0.1)
    storage = connect(cluster)
    session = storage._cluster._roster.main
    hold = threading.Event()
    cluster.trip("sync", lambda: hold.wait(5))
    eventually(lambda: storage._cluster._roster.main not in (session, None))
    hold.set()

    assert not session.alive


def test_what_is_cached_is_read_while_no_node_answers_and_the_rest_fails_in_time(cluster, connect):
    storage = connect(cluster, timeout=0.5)
    tid = commit(storage, (ROOT, None, b"1"))
    cluster.nodes[0].stop()

    assert storage.lastTransaction() == tid
    assert storage.load(ROOT) == (b"1", tid)
    with pytest.raises(errors.ClusterUnavailable, match="no node can be reached"):
        storage.load(oid(77))


def test_a_storage_comes_back_after_all_nodes_were_away(cluster, connect):
    storage = connect(cluster)
    first = commit(storage, (ROOT, None, b"1"))
    cluster.nodes[0].stop()
    cluster.nodes[0].start()

    assert commit(storage, (ROOT, first, b"2")) > first


def test_no_node_at_all_fails_in_time():
    started = time.monotonic()
    with pytest.raises(
        errors.ClusterUnavailable, match=r"no node can be reached of .*; check the addresses and that the nodes run"
    ):
        ClusterStorage("127.0.0.1:1", timeout=0.3)
    assert time.monotonic() - started < 3


def test_a_storage_can_be_made_before_its_cluster(make_cluster, connect):
    cluster = make_cluster()
    cluster.nodes[0].stop()
    storage = connect(cluster, wait=False)
    cluster.nodes[0].start()

    assert storage.lastTransaction() == TID_ZERO


def test_another_cluster_is_refused_at_once(make_cluster, connect):
    cluster = make_cluster()
    storage = connect(cluster, cache_bytes=0)
    commit(storage, (ROOT, None, b"1"))
    cluster.id = "c2"
    cluster.nodes[0].drop_sessions()
    eventually(lambda: storage._cluster._roster.main is None)

    with pytest.raises(errors.WrongCluster):
        storage.load(ROOT)


def test_another_history_drops_what_was_cached(cluster, connect):
    storage, wrapper = connect(cluster), Wrapper()
    storage.registerDB(wrapper)
    first = commit(storage, (ROOT, None, b"1"))
    commit(storage, (ROOT, first, b"2"))
    with cluster.lock:  # an operator forced a node that had only the first
        cluster.history = "h2"
        cluster.revisions[ROOT] = cluster.revisions[ROOT][:1]
        cluster.last = first
        del cluster.transactions[1:]
        cluster.lead(cluster.nodes[0])
        cluster.nodes[0].drop_sessions()
    eventually(lambda: wrapper.dropped)

    assert storage.load(ROOT) == (b"1", first)
    assert storage.lastTransaction() == first


def test_a_snapshot_is_never_later_than_the_last_transaction(cluster, connect):
    """A node may be ahead of what this client was told."""
    storage, other = connect(cluster, cache_bytes=0), connect(cluster)
    first = commit(other, (ROOT, None, b"1"))
    eventually(lambda: storage.lastTransaction() == first)
    for session in cluster.nodes[0].sessions:
        session.wants_news = False
    second = commit(other, (ROOT, first, b"2"))

    assert storage.loadBefore(ROOT, maxtid) == (b"1", first, None)
    assert storage.loadSerial(ROOT, second) == b"2"


def test_unknown_objects_and_revisions_are_key_errors(cluster, connect):
    storage = connect(cluster)
    tid = commit(storage, (ROOT, None, b"1"))

    with pytest.raises(POSKeyError):
        storage.loadBefore(oid(9), maxtid)
    with pytest.raises(POSKeyError):
        storage.loadSerial(ROOT, next_tid(tid))
    assert storage.loadBefore(ROOT, tid) is None


def test_prefetched_objects_need_no_load(cluster, connect):
    tid = commit(connect(cluster), *((oid(n), None, b"%d" % n) for n in range(250)))
    storage = connect(cluster)

    storage.prefetch((oid(n) for n in range(250)), next_tid(tid))

    assert [storage.load(oid(n))[0] for n in range(250)] == [b"%d" % n for n in range(250)]
    assert cluster.seen.count("load") == 0
    assert cluster.seen.count("prefetch") == 3


@pytest.mark.parametrize("mode", ["latest", "strict"])
def test_sync_waits_for_what_others_committed(cluster, connect, mode):
    storage, other = connect(cluster, sync=mode), connect(cluster)
    tid = commit(other, (ROOT, None, b"1"))

    storage.sync()

    assert storage.lastTransaction() == tid


def test_a_read_only_storage_writes_nothing(cluster, connect):
    storage = connect(cluster, read_only=True)
    assert storage.isReadOnly()
    for write in (storage.new_oid, lambda: voted(storage), lambda: storage.store(ROOT, None, b"", "", None)):
        with pytest.raises(ReadOnlyError):
            write()


def test_new_oids_are_not_given_twice(cluster, connect):
    storage, other = connect(cluster), connect(cluster)
    given = [s.new_oid() for _ in range(150) for s in (storage, other)]
    assert len(set(given)) == 300


def test_an_oid_that_someone_chose_is_not_given(cluster, connect):
    storage, other = connect(cluster), connect(cluster)
    given = int.from_bytes(storage.new_oid(), "big")
    tid = commit(other, (oid(given + 3), None, b"mine"))
    eventually(lambda: storage.lastTransaction() == tid)

    assert oid(given + 3) not in {storage.new_oid() for _ in range(20)}


def test_all_clients_of_a_cluster_have_one_sort_key(make_cluster, connect):
    one, other = make_cluster(2), make_cluster()
    other.id = "c2"
    keys = [
        connect(c, nodes=nodes).sortKey()
        for c, nodes in [(one, one.addresses[:1]), (one, one.addresses[1:]), (other, other.addresses)]
    ]
    assert keys[0] == keys[1] != keys[2]


def test_copies_keep_tids_and_metadata(cluster, connect):
    source = MappingStorage()
    db = ZODB.DB(source)
    with db.transaction("first") as connection:
        connection.root()["a"] = 1
    storage = connect(cluster)
    storage.copyTransactionsFrom(source)

    copied = list(storage.iterator())
    assert [(t.tid, t.description, t.user, t.status) for t in copied] == [
        (t.tid, t.description, t.user, t.status) for t in source.iterator()
    ]
    assert [[(r.oid, r.tid, r.data) for r in t] for t in copied] == [
        [(r.oid, r.tid, r.data) for r in t] for t in source.iterator()
    ]
    db.close()


def test_iterating_survives_the_loss_of_a_node(cluster, connect):
    storage = connect(cluster)
    tids = []
    for n in range(5):
        tids.append(commit(storage, (oid(n), None, b"x" * 100)))
    iterator = storage.iterator(tids[1])
    got = [next(iterator).tid]
    cluster.nodes[0].stop()
    cluster.nodes[0].start()
    got += [transaction.tid for transaction in iterator]

    assert got == tids[1:]


def test_a_closed_storage_says_so(cluster, connect):
    storage = connect(cluster)
    storage.close()
    storage.close()

    with pytest.raises(errors.StorageClosed):
        storage.loadBefore(ROOT, maxtid)


def test_a_storage_nobody_holds_is_closed(cluster):
    storage = ClusterStorage(cluster.addresses)
    ZODB.DB(storage)
    gone = weakref.ref(storage)
    inner = storage._cluster
    del storage
    gc.collect()

    assert gone() is None
    eventually(lambda: inner.closed and not cluster.nodes[0].sessions)


def test_a_forked_child_opens_its_own_sessions(cluster, connect):
    storage = connect(cluster, cache_bytes=0)
    first = commit(storage, (ROOT, None, b"1"))
    given = storage.new_oid()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            mine = storage.new_oid()
            tid = commit(storage, (ROOT, first, b"2"))
            answer = b"same oid" if mine == given else tid + storage.load(ROOT)[0]
        except BaseException as error:
            answer = repr(error).encode()
        os.write(writing, answer)
        os._exit(0)
    os.close(writing)
    answer = os.read(reading, 1000)
    os.close(reading)
    os.waitpid(child, 0)

    assert answer == cluster.last + b"2"
    eventually(lambda: storage.lastTransaction() == cluster.last)
    assert storage.load(ROOT) == (b"2", cluster.last)


def test_records_that_are_walked_over_are_the_walkers_own(cluster, connect):
    storage = connect(cluster)
    commit(storage, (oid(1), None, b"x"))
    (transaction,) = storage.iterator()

    for record in transaction:
        record.data = b"changed, as wrappers that transform records do"

    assert [record.data for record in transaction] == [b"x"]
