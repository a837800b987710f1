"""Undo, histories and walks on real nodes: what ZODB's suites do not try."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import transaction
import zc.zlibstorage
import ZODB
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.interfaces import IStorageCurrentRecordIteration, IStorageIteration, IStorageRestoreable, IStorageUndoable
from ZODB.POSException import POSKeyError, UndoError
from ZODB.serialize import referencesf
from ZODB.tests.ConflictResolution import PCounter
from ZODB.tests.MinPO import MinPO
from ZODB.tests.StorageTestBase import snooze, zodb_pickle
from ZODB.utils import p64, z64
from zope.interface.verify import verifyObject

from springtide.client.past import undone_tid
from springtide.testing.cluster import LocalCluster
from springtide.wire.v1 import session_pb2 as wire
from tests.cluster.test_undo_suites import Hex

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def storage(cluster: LocalCluster) -> Iterator[Any]:
    made = cluster.storage(timeout=60, finish_timeout=60)
    yield made
    made.close()


@pytest.fixture
def db(storage: Any) -> Iterator[ZODB.DB]:
    made = ZODB.DB(storage)
    yield made
    made.close()


def commit(storage: Any, *writes: tuple[bytes, bytes | None, bytes]) -> bytes:
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    for name, serial, data in writes:
        storage.store(name, serial or z64, data, "", txn)
    storage.tpc_vote(txn)
    tid: bytes = storage.tpc_finish(txn)
    return tid


def undo(storage: Any, *tids: bytes, before_vote: Callable[[], object] = lambda: None) -> bytes:
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    try:
        for tid in tids:
            storage.undo(tid, txn)
        before_vote()
        storage.tpc_vote(txn)
        made: bytes = storage.tpc_finish(txn)
    except BaseException:
        storage.tpc_abort(txn)
        raise
    return made


def test_what_is_declared_is_there(storage: Any) -> None:
    for interface in (IStorageUndoable, IStorageCurrentRecordIteration, IStorageIteration, IStorageRestoreable):
        assert verifyObject(interface, storage, tentative=True)
    assert storage.supportsUndo()


def test_a_transaction_of_many_objects_is_undone(storage: Any) -> None:
    names = [p64(number) for number in range(12_000)]
    first = commit(storage, *[(name, None, b"before " + name) for name in names])
    second = commit(storage, *[(name, first, b"after " + name) for name in names])

    third = undo(storage, second)

    assert storage.load(names[0]) == (b"before " + names[0], third)
    assert storage.load(names[-1]) == (b"before " + names[-1], third)
    (last,) = storage.iterator(third)
    assert {(r.oid, r.data, r.data_txn) for r in last} == {(n, b"before " + n, first) for n in names}


def test_records_larger_than_a_message_are_undone(storage: Any) -> None:
    large = b"large" * 2_000_000
    first = commit(storage, (p64(1), None, large))
    second = commit(storage, (p64(1), first, b"small"))

    undo(storage, second)

    assert storage.load(p64(1))[0] == large


def test_an_undo_survives_the_loss_of_the_primary(cluster: LocalCluster, storage: Any) -> None:
    first = commit(storage, (p64(1), None, b"1"))
    second = commit(storage, (p64(1), first, b"2"))

    third = undo(storage, second, before_vote=lambda: cluster.kill(cluster.primary()))

    assert storage.load(p64(1)) == (b"1", third)


def test_a_vote_to_undo_that_is_lost_with_the_primary_is_repeated_on_what_is_current(
    cluster: LocalCluster, db: ZODB.DB
) -> None:
    """Another client changes the object between the vote that was lost and the one that counts."""
    other = ZODB.DB(cluster.storage(timeout=60, finish_timeout=60, sync="strict"))
    storage = db.storage
    with db.transaction() as connection:
        connection.root()["counter"] = PCounter()
    for step in (1, 10):
        with db.transaction() as connection:
            connection.root()["counter"].inc(step)
    counter = db.undoLog(0, 1)[0]["id"]

    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.undo(counter, txn)
    storage.tpc_vote(txn)
    cluster.kill(cluster.primary())
    with other.transaction() as connection:
        connection.root()["counter"].inc(100)
    storage.tpc_finish(txn)

    with db.transaction() as connection:
        assert connection.root()["counter"]._value == 101
    other.close()


def test_the_past_can_be_opened_also_of_what_is_gone_now(db: ZODB.DB) -> None:
    with db.transaction() as connection:
        connection.root()["thing"] = MinPO(1)
    created = db.lastTransaction()
    with db.transaction() as connection:
        connection.root()["thing"].value = 2
    changed = db.lastTransaction()
    oid = db.open().root()["thing"]._p_oid
    for entry in db.undoLog(0, 2):
        db.undo(entry["id"])
        transaction.commit()

    with pytest.raises(POSKeyError):
        db.storage.load(oid)
    for moment, value in ((created, 1), (changed, 2)):
        connection = db.open(at=moment)
        assert connection.root()["thing"].value == value
        connection.close()
    connection = db.open(before=changed)
    assert connection.root()["thing"].value == 1
    connection.close()
    connection = db.open(before=created)
    assert "thing" not in connection.root()
    connection.close()


def test_a_deleted_object_is_gone_from_then_on_and_not_before(storage: Any) -> None:
    first = commit(storage, (p64(1), None, b"1"), (p64(2), None, b"2"))
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.deleteObject(p64(1), first, txn)
    storage.tpc_vote(txn)
    gone = storage.tpc_finish(txn)

    for missing in (storage.load, storage.getTid, lambda oid: storage.loadBefore(oid, b"\x7f" + b"\xff" * 7)):
        with pytest.raises(POSKeyError):
            missing(p64(1))
    with pytest.raises(POSKeyError):
        storage.loadSerial(p64(1), gone)
    assert storage.loadBefore(p64(1), gone) == (b"1", first, gone)
    assert storage.loadSerial(p64(1), first) == b"1"
    assert [(each["tid"], each["size"]) for each in storage.history(p64(1), 9)] == [(gone, 0), (first, 1)]
    assert storage.record_iternext() == (p64(2), first, b"2", None)

    undo(storage, gone)
    assert storage.load(p64(1))[0] == b"1"


def test_a_walk_shows_every_object_once(storage: Any) -> None:
    sizes = {number: 3_000_000 if number % 500 == 7 else number % 300 for number in range(2_000)}
    tid = commit(storage, *[(p64(number), None, bytes(size)) for number, size in sizes.items()])

    found, at = [], None
    while True:
        name, serial, data, at = storage.record_iternext(at)
        found.append((name, serial, len(data)))
        if at is None:
            break

    assert found == [(p64(number), tid, size) for number, size in sizes.items()]


def test_an_undo_that_fails_commits_nothing(storage: Any) -> None:
    first = commit(storage, (p64(1), None, b"1"), (p64(2), None, b"1"))
    second = commit(storage, (p64(1), first, b"2"), (p64(2), first, b"2"))
    third = commit(storage, (p64(1), second, b"3"))

    with pytest.raises(UndoError, match=second.hex()):
        undo(storage, second)

    assert storage.lastTransaction() == third
    assert storage.load(p64(2)) == (b"2", second)


@pytest.mark.parametrize("wrap", [Hex, zc.zlibstorage.ZlibStorage])
def test_through_wrappers_conflicts_are_resolved_and_nodes_know_what_they_cannot_read(
    cluster: LocalCluster, wrap: Any
) -> None:
    base = cluster.storage(timeout=60, sync="strict")
    db, other = ZODB.DB(wrap(base)), ZODB.DB(wrap(cluster.storage(timeout=60, sync="strict")))
    with db.transaction() as connection:
        root = connection.root()
        root["padding"] = "x" * 200  # or zlib leaves it alone
        root["counter"] = PCounter()
        root["counter"].inc(100)
        root["thing"] = MinPO("y" * 200)
    connection = db.open(transaction.TransactionManager())
    connection.root()["counter"].inc(1)
    with other.transaction() as meanwhile:
        meanwhile.root()["counter"].inc(10)
    connection.transaction_manager.commit()
    connection.close()
    with db.transaction() as connection:
        assert connection.root()["counter"]._value == 111
        oids = {connection.root()[name]._p_oid for name in ("counter", "thing")}
        connection.root()["more"] = 1
    last = db.lastTransaction()

    (_, told), _ = base._histories._gatherer.ask(
        lambda: wire.ClientMessage(undo_read=wire.UndoRead(tid=last, floor=last))
    )
    said = {told.references[at : at + 8] for at in range(0, len(told.references), 8)}
    assert told.refers and said == oids
    db.undo(db.undoLog(0, 1)[0]["id"])
    transaction.commit()
    with db.transaction() as connection:
        assert "more" not in connection.root()
    db.close()
    other.close()


def test_what_filestorage_repeats_is_repeated_here_and_there_again(
    cluster: LocalCluster, storage: Any, tmp_path: Any
) -> None:
    source = FileStorage(str(tmp_path / "source.fs"))
    db = ZODB.DB(source)
    for value in range(3):
        with db.transaction() as connection:
            connection.root()["x"] = value
    db.undo(db.undoLog(0, 1)[0]["id"])
    transaction.commit()

    storage.copyTransactionsFrom(source)
    back = FileStorage(str(tmp_path / "back.fs"))
    back.copyTransactionsFrom(storage)

    def shown(each: Any) -> list[Any]:
        return [
            (t.tid, t.status, t.user, t.description, t.extension_bytes, [(r.oid, r.tid, r.data, r.data_txn) for r in t])
            for t in each.iterator()
        ]

    assert shown(source) == shown(storage) == shown(back)
    assert [each["id"] for each in source.undoLog()] == [each["id"] for each in storage.undoLog()]
    db.close()
    back.close()


def test_what_was_packed_is_not_undone(storage: Any) -> None:
    made = [commit(storage, (p64(0), None, zodb_pickle(MinPO(0))))]
    for value in (1, 2):
        made.append(commit(storage, (p64(0), made[-1], zodb_pickle(MinPO(value)))))
    packed = time.time()
    snooze()
    third = undo(storage, made[2])

    storage.pack(packed, referencesf)
    assert [undone_tid(each["id"]) for each in storage.undoLog()] == [third]
    for tid in made:
        with pytest.raises(UndoError, match=f"{tid.hex()}.*packed"):
            undo(storage, tid)
    assert storage.load(p64(0)) == (zodb_pickle(MinPO(1)), third)
    (repeating,) = next(storage.iterator(third))
    assert repeating.data_txn == made[1], "as FileStorage does, a pack keeps what is repeated later"

    fourth = undo(storage, third)
    assert storage.load(p64(0))[0] == zodb_pickle(MinPO(2))
    snooze()
    storage.pack(time.time(), referencesf)
    assert storage.undoLog() == []
    assert [each["tid"] for each in storage.history(p64(0), 9)] == [fourth]
    (repeating,) = next(storage.iterator(fourth))
    assert repeating.data_txn is None, "what it repeated is gone"


def test_an_undo_that_a_pack_overtakes_is_refused_whole(storage: Any) -> None:
    """Between the undo, which saw all it needed, and the vote."""
    first = commit(storage, (p64(0), None, zodb_pickle(MinPO(1))))
    second = commit(storage, (p64(0), first, zodb_pickle(MinPO(2))))
    snooze()

    with pytest.raises(UndoError, match=f"{second.hex()}.*packed"):
        undo(storage, second, before_vote=lambda: storage.pack(time.time(), referencesf))

    assert storage.load(p64(0)) == (zodb_pickle(MinPO(2)), second)
    assert storage.lastTransaction() == second
