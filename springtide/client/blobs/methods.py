"""What a storage has for ZODB's ``IBlobStorage`` and ``IBlobStorageRestoreable``.

They are declared, and everything here works, where the storage was opened with a blob_dir. It
is never made up silently: where blobs go is for the user to say, because they are large.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from typing import IO, Any, NoReturn

import zope.interface
from ZODB.interfaces import IBlobStorageRestoreable
from ZODB.POSException import Unsupported

from springtide.client import forks
from springtide.client import transaction as tx
from springtide.client.blobs.cache import BlobCache
from springtide.client.blobs.directory import BlobDirectory
from springtide.client.blobs.reading import BlobReads, failed
from springtide.client.blobs.writing import BlobWrites
from springtide.client.cluster import Cluster
from springtide.client.oids import Oids
from springtide.client.reads import Reads
from springtide.client.transactions import Transactions
from springtide.client.writable import Writable
from springtide.records.ids import TID_ZERO, Oid, Tid


class Blobs:
    """The parts that a storage with a blob_dir has more than one without."""

    def __init__(
        self,
        cluster: Cluster,
        reads: Reads,
        timeout: float,
        blob_dir: str | os.PathLike[str],
        shared: bool,
        bytes_max: int | None,
        percent: int,
    ) -> None:
        self.directory = BlobDirectory(blob_dir, shared)
        self.cache = BlobCache(self.directory, bytes_max, percent)
        self.reads = BlobReads(cluster, self.directory, self.cache, reads.last, reads.blob_of, timeout)
        self.writes = BlobWrites(
            self.directory,
            self.cache,
            lambda: cluster.known_id(time.monotonic() + timeout),
            self.reads.load,
            timeout,
        )
        forks.register(self.cache)


def check_options(blob_dir: object, shared: bool, bytes_max: int | None, percent: int) -> None:
    """ValueError for what cannot be meant."""
    if blob_dir == "":
        raise ValueError("blob_dir is the path of a directory, not an empty text")
    if not 0 < percent < 100:
        raise ValueError(f"blob_cache_size_check is a percentage from 1 to 99, not {percent}")
    if bytes_max is not None and bytes_max < 0:
        raise ValueError(f"blob_cache_size is a number of bytes, not {bytes_max}")
    if blob_dir is None and (shared or bytes_max is not None):
        raise ValueError("shared_blob_dir and blob_cache_size say something about a blob_dir, and none is named")
    if shared and bytes_max is not None:
        raise ValueError("a shared blob_dir is a node's: it keeps what is there, so it takes no blob_cache_size")


class BlobMethods(Writable):
    """Mixed into ``ClusterStorage``."""

    _blobs: Blobs | None
    _transactions: Transactions
    _oids: Oids
    _references: Callable[[bytes | None], bytes | None]

    @property
    def blob_dir(self) -> str | None:
        return None if self._blobs is None else self._blobs.directory.path

    @property
    def fshelper(self) -> Any:
        """ZODB's view of the directory: where copies of transactions put files, and what tests look into."""
        return _NoHelper(self) if self._blobs is None else self._blobs.directory.helper

    def temporaryDirectory(self) -> str:
        return self._with_blobs().directory.temporary

    def storeBlob(
        self, oid: Oid, oldserial: Tid | str | None, data: bytes, blobfilename: str, version: str, transaction: Any
    ) -> None:
        """The file is ours from now on: renamed if it is on the file system of the blob_dir, else copied."""
        if version:
            raise Unsupported("versions are not supported")
        serial = Tid(oldserial.encode("latin-1")) if isinstance(oldserial, str) else oldserial  # ZODB's own suite does
        write = tx.Write(oid, serial or TID_ZERO, tx.Kind.STORE, data, None, self._references(data))
        self._put_blob(transaction, write, blobfilename)

    def restoreBlob(
        self, oid: Oid, serial: Tid, data: bytes, blobfilename: str, prev_txn: Tid | None, transaction: Any
    ) -> None:
        write = tx.Write(oid, serial or TID_ZERO, tx.Kind.RESTORE, data, prev_txn, self._references(data))
        self._put_blob(transaction, write, blobfilename)
        self._oids.drop()  # what is restored may have oids of the range we hold

    def loadBlob(self, oid: Oid, serial: Tid) -> str:
        """The name of a read-only file, which stays for as long as this very string is held on to, and a while longer.

        POSKeyError: the revision does not exist, or has no file.
        """
        return self._with_blobs().reads.load(oid, serial)

    def openCommittedBlobFile(self, oid: Oid, serial: Tid, blob: Any = None) -> IO[bytes]:
        return self._with_blobs().reads.open(oid, serial, blob)

    def _put_blob(self, transaction: Any, write: tx.Write, filename: str) -> None:
        self._writable()
        blobs = self._with_blobs()
        blobs.reads.claim()
        try:
            self._transactions.put_blob(transaction, write, filename)
        except OSError as error:
            raise failed(blobs.directory, error) from error

    def _with_blobs(self) -> Blobs:
        if self._blobs is None:
            raise Unsupported(f"{self._name} was opened without a blob_dir, so it has no place for blobs")
        return self._blobs

    def _open_blobs(self, blobs: Blobs) -> None:
        """Before ``DB(storage)``, which looks once at what is declared."""
        self._blobs = blobs
        weakref.finalize(self, setattr, blobs.cache, "abandoned", True).atexit = False
        zope.interface.alsoProvides(self, IBlobStorageRestoreable)

    def _close_blobs(self) -> None:
        if self._blobs is not None:
            self._blobs.cache.close()


class _NoHelper:
    """Stands for ZODB's helper where there is no directory."""

    def __init__(self, storage: BlobMethods) -> None:
        self._storage = storage

    def __getattr__(self, name: str) -> NoReturn:
        if name.startswith("__"):
            raise AttributeError(name)
        self._storage._with_blobs()
        raise AttributeError(name)
