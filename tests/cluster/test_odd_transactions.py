"""Transactions that hold little, or say strange things: committed, told, iterated and copied as they are."""

from __future__ import annotations

import contextlib
import pickle
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ReadConflictError, StorageError
from ZODB.utils import load_current, p64, z64

from springtide import ClusterStorage
from springtide.testing.cluster import LocalCluster
from tests.cluster.load import check_equal

NOT_UTF8 = b"\xff\xfe caf\xe9 \x00\x80"
EXTENSION = {"undo": ["a", {"b": b"\xff"}], "κλειδί": 2.5, "none": None}


@pytest.fixture
def storage(cluster: LocalCluster) -> Iterator[ClusterStorage]:
    with contextlib.closing(cluster.storage()) as storage:
        yield storage
    check_equal(cluster)


def commit(
    storage: ClusterStorage,
    records: Iterable[tuple[bytes, bytes, bytes]] = (),
    checks: Iterable[tuple[bytes, bytes]] = (),
    meta: Any = None,
    tid: bytes | None = None,
) -> bytes:
    meta = TransactionMetaData() if meta is None else meta
    storage.tpc_begin(meta, *(() if tid is None else (tid,)))
    for oid, serial, data in records:
        storage.store(oid, serial, data, "", meta)
    for oid, serial in checks:
        storage.checkCurrentSerialInTransaction(oid, serial, meta)
    try:
        storage.tpc_vote(meta)
    except BaseException:
        storage.tpc_abort(meta)
        raise
    return bytes(storage.tpc_finish(meta))


def begun(storage: ClusterStorage) -> TransactionMetaData:
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    return meta


def said(storage: Any) -> list[tuple[Any, ...]]:
    """Everything that iterating tells."""
    return [
        (t.tid, t.status, t.user, t.description, t.extension_bytes, [(r.oid, r.tid, r.data, r.data_txn) for r in t])
        for t in storage.iterator()
    ]


def test_an_empty_transaction_is_kept_with_what_it_says(storage: ClusterStorage, tmp_path: Path) -> None:
    """As FileStorage keeps it: in the log, in the order of tids, until a pack."""
    first = commit(storage, [(p64(1), z64, b"x")])
    second = commit(storage, meta=TransactionMetaData(b"nobody", b"says nothing", EXTENSION))
    third = commit(storage, [(p64(1), first, b"y")])

    assert first < second < third
    assert [(t[0], t[2], t[3], t[-1]) for t in said(storage)][1] == (second, b"nobody", b"says nothing", [])
    assert [told["description"] for told in storage.undoLog(0, 5)] == [b"", b"says nothing", b""]
    storage.undo(storage.undoLog(0, 5)[1]["id"], undo := begun(storage))
    storage.tpc_vote(undo)
    assert storage.tpc_finish(undo) > third, "to undo nothing is nothing again"
    with contextlib.closing(FileStorage(str(tmp_path / "copy.fs"))) as copy:
        copy.copyTransactionsFrom(storage)
        assert said(copy) == said(storage)
        for packed in (copy, storage):
            packed.pack(time.time() + 1, lambda data: [], gc=False)
        assert [t[0] for t in said(storage)] == [t[0] for t in said(copy)] == [third]


def test_a_transaction_of_read_checks_alone_writes_nothing_and_notices_a_change(
    storage: ClusterStorage, cluster: LocalCluster
) -> None:
    first = commit(storage, [(p64(1), z64, b"x"), (p64(2), z64, b"y")])

    checked = commit(storage, checks=[(p64(1), first), (p64(2), first)])
    assert checked == storage.lastTransaction() > first
    assert load_current(storage, p64(1)) == (b"x", first)
    with contextlib.closing(cluster.storage()) as other:
        second = commit(other, [(p64(2), first, b"z")])
    with pytest.raises(ReadConflictError) as conflict:
        commit(storage, checks=[(p64(1), first), (p64(2), first)])

    assert (conflict.value.oid, conflict.value.serials) == (p64(2), (second, first))
    assert [(tid, records) for tid, *_, records in said(storage)] == [
        (first, [(p64(1), first, b"x", None), (p64(2), first, b"y", None)]),
        (checked, []),
        (second, [(p64(2), second, b"z", None)]),
    ]


def test_a_tid_that_the_caller_gives_is_kept_and_must_grow(storage: ClusterStorage) -> None:
    first = commit(storage, [(p64(1), z64, b"x")])
    given = p64(int.from_bytes(first, "big") + 1_000_000)

    assert commit(storage, [(p64(1), first, b"y")], tid=given) == given
    assert load_current(storage, p64(1)) == (b"y", given)
    with pytest.raises(StorageError, match="not above the last one"):
        commit(storage, [(p64(1), given, b"z")], tid=first)
    assert commit(storage, [(p64(1), given, b"z")]) > given
    assert [t[0] for t in said(storage)][:2] == [first, given]


def test_an_empty_transaction_with_a_given_tid_is_there(storage: ClusterStorage) -> None:
    first = commit(storage, [(p64(1), z64, b"x")])
    given = p64(int.from_bytes(first, "big") + 1)

    assert commit(storage, tid=given) == given
    assert [(t[0], t[-1]) for t in said(storage)][1:] == [(given, [])]
    assert storage.lastTransaction() == given


@pytest.mark.parametrize("text", [NOT_UTF8, b"", bytes(range(256)), b"x" * 60_000])
def test_users_and_descriptions_are_bytes_whatever_they_mean(storage: ClusterStorage, text: bytes) -> None:
    tid = commit(storage, [(p64(1), z64, b"x")], meta=TransactionMetaData(text, text[::-1], {}))

    ((at, _, user, description, _, _),) = said(storage)
    assert (at, user, description) == (tid, text, text[::-1])
    (told,) = storage.undoLog(0, 1)
    assert (told["user_name"], told["description"]) == (text, text[::-1])
    (revision,) = storage.history(p64(1))
    assert (revision["user_name"], revision["description"]) == (text, text[::-1])


def test_extensions_are_what_was_said_and_the_bytes_are_kept(storage: ClusterStorage) -> None:
    verbatim = pickle.dumps(EXTENSION, 2)  # another protocol than ZODB would choose
    meta = TransactionMetaData(b"u", b"d", EXTENSION)
    meta.extension_bytes = verbatim
    commit(storage, [(p64(1), z64, b"x")], meta=meta)
    commit(storage, [(p64(2), z64, b"y")], meta=TransactionMetaData(b"", b"", EXTENSION))
    commit(storage, [(p64(3), z64, b"z")])

    first, second, third = storage.iterator()
    assert first.extension_bytes == verbatim
    assert first.extension == second.extension == EXTENSION
    assert (third.extension, third.extension_bytes) == ({}, b"")
    assert storage.undoLog(0, 3)[1]["undo"] == EXTENSION["undo"]


def test_what_an_application_notes_of_its_transaction_arrives(storage: ClusterStorage) -> None:
    database = ZODB.DB(storage)
    with contextlib.closing(database), database.transaction("ünïcode ☃") as connection:
        connection.root()["mapping"] = PersistentMapping()
        transaction_now = connection.transaction_manager.get()
        transaction_now.setExtendedInfo("reason", ["because"])
        transaction_now.user = "us\u00e9r"

        connection.transaction_manager.commit()
        connection.transaction_manager.begin()
        told = storage.undoLog(0, 1)[0]
        assert told["description"] == "ünïcode ☃".encode()
        assert told["user_name"] == "us\u00e9r".encode()
        assert told["reason"] == ["because"]
    transaction.abort()


def test_odd_transactions_are_copied_to_another_cluster_and_say_the_same(storage: ClusterStorage) -> None:
    first = commit(storage, [(p64(1), z64, b"x")], meta=TransactionMetaData(NOT_UTF8, NOT_UTF8, EXTENSION))
    commit(storage, checks=[(p64(1), first)], meta=TransactionMetaData(b"checks", b"", {}))
    given = p64(int.from_bytes(storage.lastTransaction(), "big") + 5_000)
    commit(storage, [(p64(1), first, b"")], meta=TransactionMetaData(b"\x00", b"given", {}), tid=given)
    commit(storage, tid=p64(int.from_bytes(given, "big") + 1))
    commit(storage, meta=TransactionMetaData(b"", b"empty", {}))
    commit(storage, [(p64(n), z64, bytes([n])) for n in range(2, 50)])

    with LocalCluster(1) as copy, contextlib.closing(copy.storage()) as target:
        target.copyTransactionsFrom(storage)

        assert said(target) == said(storage)
        assert target.lastTransaction() == storage.lastTransaction()
        assert commit(target, [(p64(1), given, b"goes on")]) > storage.lastTransaction()
