"""A closed storage gives nothing more, not even what it has, and says so in ZODB's terms."""

from __future__ import annotations

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSError
from ZODB.utils import z64

from springtide.client import errors
from tests.unit.client.words import ROOT, commit

CLOSED = {
    "lastTransaction": lambda s, txn, tid: s.lastTransaction(),
    "load from the cache": lambda s, txn, tid: s.load(ROOT),
    "loadBefore": lambda s, txn, tid: s.loadBefore(ROOT, tid),
    "loadSerial from the cache": lambda s, txn, tid: s.loadSerial(ROOT, tid),
    "getTid": lambda s, txn, tid: s.getTid(ROOT),
    "prefetch": lambda s, txn, tid: s.prefetch([ROOT], tid),
    "lastInvalidations": lambda s, txn, tid: s.lastInvalidations(5),
    "iterator": lambda s, txn, tid: s.iterator(),
    "sync": lambda s, txn, tid: s.sync(),
    "getSize": lambda s, txn, tid: s.getSize(),
    "len": lambda s, txn, tid: len(s),
    "new_oid": lambda s, txn, tid: s.new_oid(),
    "tpc_begin": lambda s, txn, tid: s.tpc_begin(TransactionMetaData()),
    "store": lambda s, txn, tid: s.store(ROOT, z64, b"x", "", txn),
    "checkCurrentSerialInTransaction": lambda s, txn, tid: s.checkCurrentSerialInTransaction(ROOT, z64, txn),
    "deleteObject": lambda s, txn, tid: s.deleteObject(ROOT, z64, txn),
    "restore": lambda s, txn, tid: s.restore(ROOT, z64, b"x", "", None, txn),
    "tpc_vote": lambda s, txn, tid: s.tpc_vote(txn),
    "tpc_finish": lambda s, txn, tid: s.tpc_finish(txn),
    "outcome": lambda s, txn, tid: s.outcome(bytes(24)),
}


@pytest.mark.parametrize("name", CLOSED)
def test_what_is_closed_serves_nothing(cluster, connect, name):
    storage = connect(cluster)
    tid = commit(storage, (ROOT, None, b"cached"))
    storage.load(ROOT)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)

    storage.close()

    with pytest.raises(errors.StorageClosed, match="closed") as raised:
        CLOSED[name](storage, txn, tid)
    assert isinstance(raised.value, POSError)


def test_what_is_closed_still_says_what_it_is_and_lets_go(cluster, connect):
    storage = connect(cluster)
    key = storage.sortKey()
    txn = TransactionMetaData()
    storage.tpc_begin(txn)

    storage.close()

    assert storage.sortKey() == key and storage.getName().startswith("springtide://") and not storage.isReadOnly()
    storage.tpc_abort(txn)
    storage.close()
