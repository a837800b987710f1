"""``springtide import``: a FileStorage goes in, transaction by transaction, with its tids."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from ZODB.blob import is_blob_record
from ZODB.FileStorage.FileStorage import FileIterator, FileStorageFormatError
from ZODB.interfaces import IBlobStorageRestoreable
from ZODB.utils import tid_repr, z64

from springtide.cli.uri import full
from springtide.client.opening import open_storage
from springtide.errors import Damaged, Rejected


def run(file: Path, uri: str, resume: bool) -> int:
    source = _open(file)
    try:
        storage = open_storage(full(uri))
        try:
            after = _start(storage, uri, resume)
            return _report(file, *_copy_with_bar(source, storage, file, after))
        finally:
            storage.close()
    finally:
        source.close()


def _open(file: Path) -> Any:
    try:
        return FileIterator(str(file))
    except FileStorageFormatError:
        raise Rejected(f"{file} is not a FileStorage: it does not begin as one") from None


def _start(storage: Any, uri: str, resume: bool) -> bytes:
    """The tid after which to go on."""
    last: bytes = storage.lastTransaction()
    if last != z64 and not resume:
        raise Rejected(
            f"the cluster at {uri} is not empty (last transaction {tid_repr(last)}): import into an empty one, "
            "or say --continue to go on with an import that was interrupted"
        )
    return last


def _copy_with_bar(source: Any, storage: Any, file: Path, after: bytes) -> tuple[int, int, float]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(file.name, total=file.stat().st_size)
        transactions = records = 0
        for transaction in source:
            if transaction.tid > after:
                records += copy(transaction, storage)
                transactions += 1
            progress.update(bar, completed=source._pos)
    if source._pos < source._file_size:
        raise Damaged(
            f"{file} cannot be read beyond byte {source._pos} of {source._file_size}; "
            f"{transactions} transactions before it are in the cluster: "
            "where nothing writes to the file any more, repair it (ZODB's fsrecover) and import it with --continue"
        )
    return transactions, records, time.monotonic() - began


def copy(transaction: Any, storage: Any) -> int:
    """Commit one transaction as it was, tid and all. Returns how many records it had."""
    records = 0
    storage.tpc_begin(transaction, transaction.tid, transaction.status)
    try:
        for record in transaction:
            if is_blob_record(record.data) and not IBlobStorageRestoreable.providedBy(storage):
                raise Rejected(
                    f"transaction {tid_repr(transaction.tid)} holds a blob (oid {record.oid.hex()}), "
                    "and blobs cannot be imported yet; nothing of this transaction was written"
                )
            storage.restore(record.oid, record.tid, record.data, "", record.data_txn, transaction)
            records += 1
        storage.tpc_vote(transaction)
        storage.tpc_finish(transaction)
    except BaseException:
        storage.tpc_abort(transaction)
        raise
    return records


def _report(file: Path, transactions: int, records: int, seconds: float) -> int:
    print(f"{file}: {transactions} transactions with {records} records copied in {seconds:.1f} s")
    return 0
