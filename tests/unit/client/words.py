"""Words that the client's tests share."""

from __future__ import annotations

import time
from collections.abc import Callable

from ZODB.Connection import TransactionMetaData
from ZODB.tests.ConflictResolution import PCounter
from ZODB.tests.StorageTestBase import zodb_pickle, zodb_unpickle
from ZODB.utils import z64

from springtide.records.ids import oid as oid

ROOT = oid(0)


def voted(storage, *writes, **metadata):
    """A transaction that has voted for ``(oid, serial, data)`` each."""
    txn = TransactionMetaData(**metadata)
    storage.tpc_begin(txn)
    for name, serial, data in writes:
        storage.store(name, serial or z64, data, "", txn)
    storage.tpc_vote(txn)
    return txn


def commit(storage, *writes):
    return storage.tpc_finish(voted(storage, *writes))


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def begun(storage, *tids):
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    for each in tids:
        storage.undo(each, txn)
    return txn


def undo(storage, *tids):
    txn = begun(storage, *tids)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn)


def counter(value):
    made = PCounter()
    made._value = value
    return zodb_pickle(made)


def counted(storage, name=ROOT):
    return zodb_unpickle(storage.load(name)[0])._value
