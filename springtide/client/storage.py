"""``ClusterStorage``: what ZODB calls.

This class knows ZODB's contract and nothing of the network: reads are in ``reads``,
commits in ``commits``, the order in which changes become visible in ``view``.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import zope.interface
from ZODB import BaseStorage
from ZODB.ConflictResolution import ConflictResolvingStorage
from ZODB.Connection import TransactionMetaData
from ZODB.interfaces import (
    IMultiCommitStorage,
    IPrefetchStorage,
    IStorageIteration,
    IStorageRestoreable,
    ReadVerifyingStorage,
)
from ZODB.POSException import POSKeyError, ReadOnlyError, StorageTransactionError, Unsupported

from springtide.client import forks
from springtide.client import transaction as tx
from springtide.client.channels import TLS, credentials
from springtide.client.cluster import Cluster, Settings
from springtide.client.commits import Commits
from springtide.client.config import addresses
from springtide.client.errors import (
    ClusterUnavailable,
    CommitOutcomeUnknown,
    RecordTooLarge,
    Refused,
    SessionLost,
    StorageClosed,
    translated,
)
from springtide.client.iteration import Transactions
from springtide.client.oids import Oids
from springtide.client.reads import Found, Reads
from springtide.client.session import Session
from springtide.client.view import View
from springtide.records.ids import TID_MAX, TID_ZERO, Oid, Tid, TransactionId
from springtide.wire.v1 import session_pb2 as wire

ATTEMPT_MAX = 2**32 - 1


class _InProgress:
    """A transaction between tpc_begin and its end: its state, and where it is voted."""

    __slots__ = ("begun", "session", "transaction", "voted")

    def __init__(self, transaction: Any, begun: tx.Begun) -> None:
        self.transaction = transaction  # kept, so that its id stays its own
        self.begun = begun
        self.voted: tx.Voted | None = None
        self.session: Session | None = None


@zope.interface.implementer(
    IMultiCommitStorage, ReadVerifyingStorage, IStorageIteration, IStorageRestoreable, IPrefetchStorage
)
class ClusterStorage(ConflictResolvingStorage):  # type: ignore[misc]
    """A ZODB storage kept by a Springtide cluster.

    ``nodes``: addresses, "host:port", of one or more nodes; the others are learnt from them.
    ``wait``: connect before returning, for up to ``timeout`` seconds.
    ``timeout``: how long reads and votes may look for a node that can serve them.
    ``finish_timeout``: how long tpc_finish may look for what became of a commit.
    ``sync``: what a transaction that begins has seen. "session": never less than before,
    and this process's own commits; "latest": whatever the session's node had committed by
    then (a round trip); "strict": whatever anybody had committed by then.
    """

    def __init__(
        self,
        nodes: str | Iterable[str],
        *,
        name: str | None = None,
        cache_bytes: int = 64 * 1024 * 1024,
        wait: bool = True,
        timeout: float = 30.0,
        finish_timeout: float = 60.0,
        read_only: bool = False,
        sync: str = "session",
        tls: TLS | None = None,
        label: str | None = None,
        balance_reads: bool = True,
    ) -> None:
        if sync not in ("session", "latest", "strict"):
            raise ValueError(f'sync must be "session", "latest" or "strict", not {sync!r}')
        if tls is not None:
            credentials(tls)  # a wrong file is best heard of here
        seeds = addresses(nodes)
        self._name = name or f"springtide://{','.join(seeds)}"
        self._timeout = timeout
        self._read_only = read_only
        self._sync_mode = sync
        self._view = View(cache_bytes)
        settings = Settings(seeds, label or f"{os.uname().nodename}:{os.getpid()}", tls, balance_reads)
        self._cluster = Cluster(settings, self._view)
        self._reads = Reads(self._cluster, self._view, timeout)
        self._oids = Oids(self._cluster, timeout)
        self._view.watchers.append(self._oids.seen)
        self._commits = Commits(self._cluster, self._view, _Resolver(self), timeout, finish_timeout)
        self._in_progress: dict[int, _InProgress] = {}
        self._unknown: dict[TransactionId, tuple[int, int]] = {}
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

    def supportsUndo(self) -> bool:
        return False

    def getSize(self) -> int:
        return self._info().bytes

    def __len__(self) -> int:
        return self._info().objects

    def __bool__(self) -> bool:
        return True

    def registerDB(self, wrapper: Any) -> None:
        super().registerDB(wrapper)  # which holds it, so that the view need not
        self._view.register(wrapper)

    def close(self) -> None:
        self._finalizer.detach()
        self._cluster.close()

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
        with self._view.lock:
            return self._view.recent.newest(count)

    def iterator(self, start: Tid | None = None, stop: Tid | None = None) -> Transactions:
        last = self._reads.last()
        return Transactions(self._cluster, start or TID_ZERO, last if stop is None else min(stop, last), self._timeout)

    def history(self, oid: Oid, size: int = 1) -> list[dict[str, Any]]:
        raise Unsupported("history is not supported yet")

    def sync(self) -> None:
        if self._sync_mode == "session":
            return
        deadline = time.monotonic() + self._timeout
        strict = self._sync_mode == "strict"
        answer = self._ask_one(lambda: wire.ClientMessage(sync=wire.Sync(strict=strict)), deadline, strict)
        last = Tid(answer.last_tid or TID_ZERO)
        if not self._view.wait_for(last, max(0.0, deadline - time.monotonic())):
            raise ClusterUnavailable("what was committed before this transaction began has not been told in time")

    # -- committing --------------------------------------------------------------------------------

    def new_oid(self) -> Oid:
        self._writable()
        return self._oids.new()

    def tpc_begin(self, transaction: Any, tid: Tid | None = None, status: str = " ") -> None:
        """Several transactions may be in progress at once: beginning one waits for no other."""
        self._writable()
        if id(transaction) in self._in_progress:
            raise StorageTransactionError("tpc_begin was called twice for the same transaction")
        metadata = tx.Metadata(
            transaction.user, transaction.description, _extension(transaction), tid, status.encode("latin-1")
        )
        begun = tx.Begun(tx.make_id(os.urandom(16), self._reads.last()), metadata, tx.Buffer())
        self._in_progress[id(transaction)] = _InProgress(transaction, begun)

    def store(self, oid: Oid, serial: Tid | None, data: bytes, version: str, transaction: Any) -> None:
        self._put(transaction, tx.Write(oid, serial or TID_ZERO, tx.Kind.STORE, data), version)

    def checkCurrentSerialInTransaction(self, oid: Oid, serial: Tid, transaction: Any) -> None:
        self._put(transaction, tx.Write(oid, serial or TID_ZERO, tx.Kind.CHECK))

    def deleteObject(self, oid: Oid, oldserial: Tid, transaction: Any) -> None:
        self._put(transaction, tx.Write(oid, oldserial or TID_ZERO, tx.Kind.DELETE))

    def restore(
        self, oid: Oid, serial: Tid, data: bytes | None, version: str, prev_txn: Tid | None, transaction: Any
    ) -> None:
        self._put(transaction, tx.Write(oid, serial or TID_ZERO, tx.Kind.RESTORE, data, prev_txn), version)

    def copyTransactionsFrom(self, other: Any, verbose: int = 0) -> None:
        BaseStorage.copy(other, self, verbose)

    def tpc_vote(self, transaction: Any) -> Sequence[Oid]:
        current = self._current(transaction)
        if current.begun.empty or current.voted is not None:
            return list(current.voted.resolved) if current.voted else []
        if current.begun.buffer.restores:
            self._oids.drop()
        current.voted, current.session = self._commits.vote(current.begun)
        return list(current.voted.resolved)

    def tpc_finish(self, transaction: Any, func: Callable[[Tid], object] | None = None) -> Tid:
        current = self._current(transaction)
        callback = func or (lambda tid: None)
        if current.voted is None and not current.begun.empty:
            raise StorageTransactionError("tpc_finish was called before tpc_vote")
        try:
            if current.voted is None or current.session is None:
                return self._commits.finish_empty(callback)
            return self._commits.finish(current.voted, current.session, callback)
        except CommitOutcomeUnknown as unknown:
            assert current.voted is not None
            self._unknown[unknown.transaction_id] = (ATTEMPT_MAX, current.voted.epoch)
            raise
        finally:
            self._in_progress.pop(id(transaction), None)

    def tpc_abort(self, transaction: Any) -> None:
        current = self._in_progress.pop(id(transaction), None)
        if current is not None and current.voted is not None and current.session is not None:
            self._commits.abort(current.voted.begun, current.session)

    def outcome(self, transaction_id: TransactionId) -> Tid | None:
        """What became of a transaction whose commit raised CommitOutcomeUnknown.

        Its tid if it was committed; None if it was not, and from this answer on never will be.
        Raises CommitOutcomeUnknown again if nobody can say.
        """
        attempt, epoch = self._unknown.get(transaction_id, (ATTEMPT_MAX, self._cluster.directory.topology.epoch))
        try:
            outcome = self._commits.ask(transaction_id, attempt, epoch, time.monotonic() + self._timeout)
        except ClusterUnavailable as unavailable:
            raise CommitOutcomeUnknown(str(unavailable), transaction_id) from None
        if outcome.result is tx.Result.FORGOTTEN:
            raise CommitOutcomeUnknown("the cluster no longer remembers transactions this old", transaction_id)
        self._unknown.pop(transaction_id, None)
        return outcome.tid if outcome.result is tx.Result.COMMITTED else None

    def pack(self, pack_time: float, referencesf: Any, gc: bool | None = None) -> None:
        raise Unsupported("packing is not supported yet")

    # -- helpers -----------------------------------------------------------------------------------

    def _writable(self) -> None:
        if self._read_only:
            raise ReadOnlyError(f"{self._name} was opened read-only")

    def _current(self, transaction: Any) -> _InProgress:
        current = self._in_progress.get(id(transaction))
        if current is None:
            raise StorageTransactionError("called with a transaction that is not in progress here")
        return current

    def _put(self, transaction: Any, write: tx.Write, version: str = "") -> None:
        self._writable()
        current = self._current(transaction)
        if current.voted is not None:
            raise StorageTransactionError("nothing can be written after tpc_vote")
        if version:
            raise Unsupported("versions are not supported")
        buffer, limits = current.begun.buffer, self._cluster.limits
        size = len(write.data or b"")
        if limits.record_bytes_max and size > limits.record_bytes_max:
            raise RecordTooLarge(
                f"the record of oid {write.oid.hex()} has {size} bytes;"
                f" the cluster accepts {limits.record_bytes_max}: use a blob, or split the object"
            )
        if limits.transaction_bytes_max and buffer.data_bytes + size > limits.transaction_bytes_max:
            raise RecordTooLarge(
                f"the transaction's records have more than {limits.transaction_bytes_max} bytes, which is what"
                " the cluster accepts: commit in smaller steps"
            )
        buffer.put(write)

    def _info(self) -> wire.InfoAnswer:
        answer = self._ask_one(lambda: wire.ClientMessage(info=wire.Info()), time.monotonic() + self._timeout, False)
        assert isinstance(answer, wire.InfoAnswer)
        return answer

    def _ask_one(self, make: Callable[[], wire.ClientMessage], deadline: float, primary: bool) -> Any:
        """A question that one node answers; asked again elsewhere until the deadline."""
        cluster = self._cluster
        while True:
            session = (cluster.primary if primary else cluster.any)(deadline)
            try:
                return session.ask(make()).wait(deadline - time.monotonic())
            except Refused as refusal:
                if not refusal.elsewhere or time.monotonic() >= deadline:
                    raise translated(refusal) from None
                cluster.redirected(session, refusal.primary)
            except SessionLost as lost:
                if cluster.closed:
                    raise StorageClosed("the storage is closed") from None
                if time.monotonic() >= deadline:
                    raise ClusterUnavailable(str(lost)) from None
            except TimeoutError:
                raise ClusterUnavailable(f"node {session.node} did not answer in time") from None
            cluster.pause(deadline)


def _extension(transaction: Any) -> bytes:
    """Verbatim where there are bytes; some storages' iterators give only the dictionary."""
    verbatim: bytes | None = getattr(transaction, "extension_bytes", None)
    if verbatim is None:
        verbatim = TransactionMetaData(extension=transaction.extension).extension_bytes
    return verbatim


class _Resolver:
    """Conflict resolution as ZODB does it, without keeping the storage alive."""

    def __init__(self, storage: ClusterStorage) -> None:
        self._storage = weakref.ref(storage)

    def __call__(self, oid: Oid, committed: Tid, serial: Tid, data: bytes, committed_data: bytes) -> bytes:
        storage = self._storage()
        assert storage is not None, "only a storage's own calls resolve conflicts"
        resolved: bytes = storage.tryToResolveConflict(oid, committed, serial, data, committed_data)
        return resolved
