"""Copying transactions, tids and all, from any storage that can be iterated, with the files of their blobs."""

from __future__ import annotations

import os
import secrets
import shutil
from typing import Any

from persistent.TimeStamp import TimeStamp
from ZODB.blob import is_blob_record
from ZODB.interfaces import IBlobStorage
from ZODB.POSException import POSKeyError, Unsupported
from ZODB.utils import tid_repr


def copy(source: Any, destination: Any, verbose: int = 0) -> None:
    """Commit every transaction of ``source`` to ``destination``. A tid that does not grow is replaced by one that does.

    Raises Unsupported where there is a blob and one of the two has no place for its file.
    """
    last: Any = None
    for transaction in source.iterator():
        moment = TimeStamp(transaction.tid)
        last = moment if last is None or moment > last else moment.laterThan(last)
        if verbose:
            print(last)
        copy_transaction(transaction, source, destination, last.raw())


def copy_transaction(transaction: Any, source: Any, destination: Any, tid: bytes) -> int:
    """Commit one transaction as it was, or nothing of it. Returns how many records it had.

    ``source`` has the files: its ``loadBlob`` is asked for them.
    """
    records = 0
    destination.tpc_begin(transaction, tid, transaction.status)
    try:
        for record in transaction:
            _copy_record(record, source, destination, transaction)
            records += 1
        destination.tpc_vote(transaction)
        destination.tpc_finish(transaction)
    except BaseException:
        destination.tpc_abort(transaction)
        raise
    return records


def _copy_record(record: Any, source: Any, destination: Any, transaction: Any) -> None:
    file = _file(record, source)
    if file is None:
        destination.restore(record.oid, record.tid, record.data, "", record.data_txn, transaction)
        return
    if not IBlobStorage.providedBy(destination):
        raise Unsupported(
            f"transaction {tid_repr(transaction.tid)} holds a blob (oid {record.oid.hex()}): "
            "open the storage that it is copied to with a blob_dir; nothing of this transaction was written"
        )
    name = os.path.join(destination.temporaryDirectory(), f"copy-{secrets.token_hex(8)}")
    try:
        shutil.copyfile(file, name)
        destination.restoreBlob(record.oid, record.tid, record.data, name, record.data_txn, transaction)
    finally:
        if os.path.exists(name):
            os.remove(name)


def _file(record: Any, source: Any) -> str | None:
    """The file of the record's blob; None if it has none, which also a record of a blob may lack."""
    named = getattr(record, "blob", None) is not None  # ours say so; others may hide it in a transformed record
    if not named and not is_blob_record(record.data):
        return None
    if not IBlobStorage.providedBy(source):
        raise Unsupported(
            f"transaction {tid_repr(record.tid)} holds a blob (oid {record.oid.hex()}), and where its file is, is not"
            " known: open the storage that it is copied from with its directory of blobs"
        )
    try:
        file: str = source.loadBlob(record.oid, record.tid)
    except POSKeyError:
        if named:
            raise
        return None
    return file
