"""Words that the client's tests share."""

from __future__ import annotations

import time
from collections.abc import Callable

from ZODB.Connection import TransactionMetaData
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
