"""``springtide import``: a FileStorage goes in, transaction by transaction, with its tids."""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from pathlib import Path
from typing import Any

import zope.interface
from rich.console import Console
from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
from ZODB.blob import FilesystemHelper
from ZODB.FileStorage.FileStorage import FileIterator, FileStorageFormatError
from ZODB.interfaces import IBlobStorage
from ZODB.POSException import POSKeyError
from ZODB.utils import tid_repr, z64

from springtide.cli.uri import full
from springtide.client.config import parse
from springtide.client.copying import copy_transaction
from springtide.client.opening import open_storage
from springtide.errors import Damaged, Rejected


def run(file: Path, uri: str, resume: bool, blob_dir: Path | None) -> int:
    files = _Files(blob_dir)
    with contextlib.closing(_open(file)) as source, tempfile.TemporaryDirectory() as passing:
        # Files only pass through here. In a shared directory nothing is kept of what was sent.
        options = {} if parse(full(uri)).storage.get("blob_dir") else {"blob_dir": passing, "shared_blob_dir": True}
        with contextlib.closing(open_storage(full(uri), **options)) as storage:
            after = _start(storage, uri, resume)
            return _report(file, files, *_copy_with_bar(source, files, storage, file, after))


@zope.interface.implementer(IBlobStorage)
class _Files:
    """The directory of blobs that belongs to the file, and what was found there."""

    def __init__(self, directory: Path | None) -> None:
        self.found = self.missing = self.bytes = 0
        self._directory = directory
        self._helper = None if directory is None else FilesystemHelper(str(directory))

    def loadBlob(self, oid: bytes, serial: bytes) -> str:
        if self._helper is None:
            raise Rejected(
                f"transaction {tid_repr(serial)} holds a blob (oid {oid.hex()}): name the directory of the blobs with "
                "--blob-dir; nothing of this transaction was written"
            )
        path: str = self._helper.getBlobFilename(oid, serial)
        if not os.path.exists(path):
            self.missing += 1
            raise POSKeyError(oid)
        self.found += 1
        self.bytes += os.path.getsize(path)
        return path

    def bytes_in_all(self) -> int:
        """Of all files that are there, for the bar."""
        return sum(file.stat().st_size for file in self._directory.rglob("*.blob")) if self._directory else 0


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


def _copy_with_bar(source: Any, files: _Files, storage: Any, file: Path, after: bytes) -> tuple[int, int, float]:
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    began = time.monotonic()
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(file.name, total=file.stat().st_size + files.bytes_in_all())
        transactions = records = 0
        for transaction in source:
            if transaction.tid > after:
                records += copy_transaction(transaction, files, storage, transaction.tid)
                transactions += 1
            progress.update(bar, completed=source._pos + files.bytes)
    if source._pos < source._file_size:
        raise Damaged(
            f"{file} cannot be read beyond byte {source._pos} of {source._file_size}; "
            f"{transactions} transactions before it are in the cluster: "
            "where nothing writes to the file any more, repair it (ZODB's fsrecover) and import it with --continue"
        )
    return transactions, records, time.monotonic() - began


def _report(file: Path, files: _Files, transactions: int, records: int, seconds: float) -> int:
    blobs = f", {files.found} blobs" if files.found else ""
    print(f"{file}: {transactions} transactions with {records} records{blobs} copied in {seconds:.1f} s")
    if files.missing:
        print(f"{files.missing} records of blobs had no file in the directory of blobs, and have none now")
    return 0
