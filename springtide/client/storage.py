"""``ClusterStorage``: what ZODB calls.

This class knows ZODB's contract and nothing of the network: reads are in ``reads``,
commits in ``commits``, the order in which changes become visible in ``view``.
"""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import zope.interface
from ZODB.ConflictResolution import ConflictResolvingStorage
from ZODB.interfaces import (
    IExternalGC,
    IMultiCommitStorage,
    IPrefetchStorage,
    IStorageCurrentRecordIteration,
    IStorageIteration,
    IStorageRestoreable,
    IStorageUndoable,
    ReadVerifyingStorage,
)
from ZODB.POSException import POSKeyError, Unsupported

from springtide.client import forks, greenlets
from springtide.client import transaction as tx
from springtide.client.blobs.methods import BlobMethods, Blobs, check_options
from springtide.client.cluster import Cluster, Settings
from springtide.client.commits import Commits
from springtide.client.config import addresses
from springtide.client.copying import copy
from springtide.client.errors import (
    ClusterUnavailable,
)
from springtide.client.gathering import Gatherer
from springtide.client.iteration import History
from springtide.client.oids import Oids
from springtide.client.packable import Packable
from springtide.client.past import Histories
from springtide.client.questions import Questions
from springtide.client.reads import Found, Reads
from springtide.client.references import hidden_references
from springtide.client.resolving import Resolver
from springtide.client.shelf.keeper import Keeper
from springtide.client.spilling import SPILL_BYTES, Spilling
from springtide.client.tls import tls_from
from springtide.client.transactions import Transactions
from springtide.client.undoable import Undoable
from springtide.client.undoing import Undoing
from springtide.client.view import View
from springtide.client.walk import Walk
from springtide.records.ids import TID_MAX, TID_ZERO, Oid, Tid, TransactionId
from springtide.wire.channels import Tls


@zope.interface.implementer(
    IMultiCommitStorage,
    ReadVerifyingStorage,
    IStorageIteration,
    IStorageCurrentRecordIteration,
    IStorageRestoreable,
    IStorageUndoable,
    IPrefetchStorage,
    IExternalGC,
)
class ClusterStorage(BlobMethods, Undoable, Packable, ConflictResolvingStorage):  # type: ignore[misc]
    """A ZODB storage kept by a Springtide cluster.

    ``nodes``: addresses, "host:port", of one or more nodes; the others are learnt from them.
    ``cache_bytes``: memory for records, shared by all connections.
    ``cache_dir``: a directory in which records outlive the process, up to ``persistent_cache_bytes``; several
    processes of one host and cluster may use one. Needs lmdb (``springtide[cache]``).
    ``wait``: connect before returning, for up to ``timeout`` seconds.
    ``timeout``: how long reads and votes may look for a node that can serve them.
    ``finish_timeout``: how long tpc_finish may look for what became of a commit.
    ``sync``: what a transaction that begins has seen. "session": never less than before,
    and this process's own commits; "latest": whatever the session's node had committed by
    then (a round trip); "strict": whatever anybody had committed by then.
    ``spill_bytes``, ``spill_dir``: records of a transaction above this wait there for their vote.
    ``blob_dir``: where the files of blobs are; without one there are no blobs. See docs/blobs.md.
    ``pack_gc``: whether packs take away objects that nothing refers to, where whoever packs does not say.
    ``tls``, or ``tls_ca`` and so on: PEM files. docs/configuration.md has all of these, with their defaults.

    Raises ValueError for an argument that cannot be meant, ConfigError for TLS files that
    cannot be used; everything else that is raised, here and later, is a POSError. Once closed,
    it raises StorageClosed, but still says what it is called and lets go of transactions.
    """

    def __init__(
        self,
        nodes: str | Iterable[str],
        *,
        name: str | None = None,
        cache_bytes: int = 64 * 1024 * 1024,
        cache_dir: str | None = None,
        persistent_cache_bytes: int = 1024 * 1024 * 1024,
        wait: bool = True,
        timeout: float = 30.0,
        finish_timeout: float = 60.0,
        read_only: bool = False,
        sync: str = "session",
        tls: Tls | None = None,
        label: str | None = None,
        balance_reads: bool = True,
        tls_ca: str | None = None,
        tls_cert: str | None = None,
        tls_key: str | None = None,
        tls_server_name: str | None = None,
        spill_bytes: int = SPILL_BYTES,
        spill_dir: str | os.PathLike[str] | None = None,
        blob_dir: str | os.PathLike[str] | None = None,
        shared_blob_dir: bool = False,
        blob_cache_size: int | None = None,
        blob_cache_size_check: int = 10,
        pack_gc: bool = True,
    ) -> None:
        greenlets.prepare()
        tls = tls_from(tls, tls_ca, tls_cert, tls_key, tls_server_name)
        if sync not in ("session", "latest", "strict"):
            raise ValueError(f'sync must be "session", "latest" or "strict", not {sync!r}')
        check_options(blob_dir, shared_blob_dir, blob_cache_size, blob_cache_size_check)
        if tls is not None:
            tls.client()  # a wrong file is best heard of here
            tls.check()
        seeds = addresses(nodes)
        self._name = name or f"springtide://{','.join(seeds)}"
        self._timeout = timeout
        self._read_only = read_only
        self._pack_gc = pack_gc
        self._sync_mode = sync
        self._view = View(cache_bytes, None if cache_dir is None else Keeper(Path(cache_dir), persistent_cache_bytes))
        settings = Settings(seeds, label or f"{os.uname().nodename}:{os.getpid()}", tls, balance_reads)
        self._cluster = Cluster(settings, self._view)
        self._reads = Reads(self._cluster, self._view, timeout)
        self._oids = Oids(self._cluster, timeout)
        self._view.watchers.append(self._oids.seen)
        self._blobs = None
        if blob_dir is not None:
            caching = (shared_blob_dir, blob_cache_size, blob_cache_size_check)
            blobs = Blobs(self._cluster, self._reads, timeout, blob_dir, *caching)
            self._open_blobs(blobs)
            if not shared_blob_dir:  # else it is a node's, which removes files by itself
                self._view.purge_watchers.append(blobs.directory.forget)
        files = None if self._blobs is None else self._blobs.writes
        self._questions = Questions(self._cluster, timeout)
        resolver, gatherer = Resolver(self), Gatherer(self._cluster, timeout)
        undoing = Undoing(gatherer, self._reads, resolver)
        commits = Commits(self._cluster, self._view, resolver, undoing.again, timeout, finish_timeout, files)
        self._spilling = Spilling(spill_bytes, None if spill_dir is None else Path(spill_dir))
        self._transactions = Transactions(commits, undoing, self._reads.last, files, self._spilling)
        self._histories = Histories(gatherer, self._reads.last)
        self._walk = Walk(gatherer, self._reads.last, self._view)
        self._lock = threading.RLock()  # only for a DemoStorage, which takes that of its changes
        self._finalizer = weakref.finalize(self, setattr, self._cluster, "abandoned", True)
        self._finalizer.atexit = False
        forks.register(self._cluster, self._view, self._reads, self._oids)
        if wait:
            try:
                self._reads.last()
            except BaseException:
                self.close()
                raise

    # -- about itself ------------------------------------------------------------------------------

    def getName(self) -> str:
        return self._name

    def __repr__(self) -> str:
        return f"<ClusterStorage {self._name}>"

    def sortKey(self) -> str:
        """The same for all clients of a cluster, whatever addresses they use."""
        return f"springtide:{self._cluster.known_id(time.monotonic() + self._timeout)}"

    def isReadOnly(self) -> bool:
        return self._read_only

    def getSize(self) -> int:
        return self._questions.info().bytes

    def __len__(self) -> int:
        return self._questions.info().objects

    def __bool__(self) -> bool:
        return True

    def cache_info(self) -> dict[str, Any]:
        """What is cached, and how often that was enough.

        "memory": "bytes" of "bytes_max", "revisions", "hits" and "misses" of the cache in memory. "directory":
        the same of ``cache_dir``, which is asked where memory misses, and shared with other processes; None without
        one. What both missed was asked of a node; for those that are "confirmed" it sent no record.
        """
        view = self._view
        with view.lock:
            memory = dict(view.cache.statistics())
        return {"memory": memory, "directory": None if view.shelf is None else view.shelf.statistics()}

    def registerDB(self, wrapper: Any) -> None:
        super().registerDB(wrapper)  # which holds it, so that the view need not
        self._view.register(wrapper)

    def close(self) -> None:
        self._finalizer.detach()
        # ZODB takes its end of the storage apart next: a change that still arrives must not find it half so.
        self._view.unregister()
        self._cluster.close()
        self._close_blobs()

    def cleanup(self) -> None:
        """There are no files to remove."""

    # -- reading -----------------------------------------------------------------------------------

    def lastTransaction(self) -> Tid:
        return self._reads.last()

    def loadBefore(self, oid: Oid, tid: Tid) -> Found | None:
        return self._reads.load_before(oid, tid)

    def loadSerial(self, oid: Oid, serial: Tid) -> bytes:
        return self._reads.load_serial(oid, serial)

    def load(self, oid: Oid, version: str = "") -> tuple[bytes, Tid]:
        found = self._reads.load_before(oid, TID_MAX)
        if found is None:
            raise POSKeyError(oid)
        return found[:2]

    def getTid(self, oid: Oid) -> Tid:
        return self.load(oid)[1]

    def prefetch(self, oids: Iterable[Oid], tid: Tid) -> None:
        self._reads.prefetch(oids, tid)

    def lastInvalidations(self, count: int) -> list[tuple[Tid, list[Oid]]]:
        self._cluster.check_open()
        with self._view.lock:
            return self._view.recent.newest(count)

    def iterator(self, start: Tid | None = None, stop: Tid | None = None) -> History:
        last = self._reads.last()
        stop = last if stop is None else min(stop, last)
        return History(self._cluster, start or TID_ZERO, stop, self._timeout, self._spilling)

    def sync(self) -> None:
        self._cluster.check_open()
        if self._sync_mode == "session":
            return
        deadline = time.monotonic() + self._timeout
        last = self._questions.last_tid(deadline, strict=self._sync_mode == "strict")
        if not self._view.wait_for(last, max(0.0, deadline - time.monotonic())):
            raise ClusterUnavailable("what was committed before this transaction began has not been told in time")

    # -- committing --------------------------------------------------------------------------------

    def new_oid(self) -> Oid:
        self._writable()
        return self._oids.new()

    def tpc_transaction(self) -> Any:
        """The transaction in progress, or None; of several, the one that began last."""
        return self._transactions.latest()

    def tpc_begin(self, transaction: Any, tid: Tid | None = None, status: str = " ") -> None:
        """Several transactions may be in progress at once: beginning one waits for no other."""
        self._writable()
        self._transactions.begin(transaction, tid, status)

    def store(self, oid: Oid, serial: Tid | None, data: bytes, version: str, transaction: Any) -> None:
        write = tx.Write(oid, serial or TID_ZERO, tx.Kind.STORE, data, None, self._references(data))
        self._put(transaction, write, version)

    def checkCurrentSerialInTransaction(self, oid: Oid, serial: Tid, transaction: Any) -> None:
        self._put(transaction, tx.Write(oid, serial or TID_ZERO, tx.Kind.CHECK))

    def deleteObject(self, oid: Oid, oldserial: Tid, transaction: Any) -> None:
        self._put(transaction, tx.Write(oid, oldserial or TID_ZERO, tx.Kind.DELETE))

    def restore(
        self, oid: Oid, serial: Tid, data: bytes | None, version: str, prev_txn: Tid | None, transaction: Any
    ) -> None:
        write = tx.Write(oid, serial or TID_ZERO, tx.Kind.RESTORE, data, prev_txn, self._references(data))
        self._put(transaction, write, version)
        self._oids.drop()  # what is restored may have oids of the range we hold

    def copyTransactionsFrom(self, other: Any, verbose: int = 0) -> None:
        copy(other, self, verbose)

    def tpc_vote(self, transaction: Any) -> Sequence[Oid]:
        self._cluster.check_open()
        return self._transactions.vote(transaction)

    def tpc_finish(self, transaction: Any, func: Callable[[Tid], object] | None = None) -> Tid:
        self._cluster.check_open()
        return self._transactions.finish(transaction, func or (lambda tid: None))

    def tpc_abort(self, transaction: Any) -> None:
        self._transactions.abort(transaction)

    def outcome(self, transaction_id: TransactionId) -> Tid | None:
        """What became of a transaction whose commit raised CommitOutcomeUnknown.

        Its tid if it was committed; None if it was not, and from this answer on never will be.
        Raises CommitOutcomeUnknown again if nobody can say.
        """
        self._cluster.check_open()
        return self._transactions.outcome(transaction_id)

    def _references(self, data: bytes | None) -> bytes | None:
        return hidden_references(data, self._crs_untransform_record_data)

    def _put(self, transaction: Any, write: tx.Write, version: str = "") -> None:
        self._writable()
        self._transactions.put(transaction, write)
        if version:
            raise Unsupported("versions are not supported")
