"""The transactions in progress on one storage, each known by the object that ZODB gave.

Any number may be in progress at once, also from one thread: nothing is locked before
the vote, so none waits for another here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from ZODB.Connection import TransactionMetaData
from ZODB.POSException import StorageTransactionError

from springtide.client import transaction as tx
from springtide.client.blobs.directory import Staging
from springtide.client.blobs.writing import BlobWrites
from springtide.client.commits import Callback, Commits
from springtide.client.errors import ClusterUnavailable, CommitOutcomeUnknown, RecordTooLarge, UndoRefused
from springtide.client.session import Session
from springtide.client.spilling import Spilling
from springtide.client.undoing import Undoing
from springtide.records.ids import Oid, Tid, TransactionId

#: What to ask about a transaction of which only the id is known: all attempts.
ATTEMPT_MAX = 2**32 - 1
#: Outcomes that are unknown are rare, and few of them are asked for again.
UNKNOWN_MAX = 1_000


@dataclass(slots=True)
class _InProgress:
    transaction: Any  # kept, so that its id stays its own
    begun: tx.Begun
    vote: tuple[tx.Voted, Session] | None = None
    staging: Staging | None = None  # where the files of its blobs are
    doomed: Exception | None = None  # a part of an undo is in it, which must not be committed alone


class Transactions:
    def __init__(
        self,
        commits: Commits,
        undoing: Undoing,
        last: Callable[[], Tid],
        blobs: BlobWrites | None = None,
        spilling: Spilling | None = None,
    ) -> None:
        self._commits = commits
        self._spilling = spilling or Spilling()
        self._undoing = undoing
        self._blobs = blobs
        self._last = last
        self._in_progress: dict[int, _InProgress] = {}
        #: Epochs in which transactions of unknown outcome were finished.
        self._unknown: dict[TransactionId, int] = {}

    def begin(self, transaction: Any, tid: Tid | None, status: str) -> None:
        if id(transaction) in self._in_progress:
            raise StorageTransactionError("tpc_begin was called twice for the same transaction")
        metadata = tx.Metadata(
            _text(transaction.user),
            _text(transaction.description),
            _extension(transaction),
            tid,
            status.encode("latin-1"),
        )
        begun = tx.Begun(tx.make_id(os.urandom(16), self._last()), metadata, self._spilling.buffer())
        self._in_progress[id(transaction)] = _InProgress(transaction, begun)

    def latest(self) -> Any:
        """The transaction that began last of those in progress; None where there is none."""
        last = next(reversed(list(self._in_progress.values())), None)
        return None if last is None else last.transaction

    def put(self, transaction: Any, write: tx.Write) -> None:
        self._put(self._open(transaction), write, None)

    def _put(self, current: _InProgress, write: tx.Write, path: str | None) -> None:
        self._check_limits(current.begun.buffer, write)
        with self._spilling.translated():
            current.begun.buffer.put(write, path)

    def put_blob(self, transaction: Any, write: tx.Write, filename: str) -> None:
        """Like ``put``, of a record with a file, which is ours from now on."""
        current = self._open(transaction)
        assert self._blobs is not None, "the storage has checked that it has a place for blobs"
        if current.staging is None:
            current.staging = self._blobs.stage()
        path, blob = self._blobs.take(current.staging, filename)
        blob_bytes_max = self._commits.cluster.limits.blob_bytes_max
        if blob_bytes_max and blob.size > blob_bytes_max:
            raise RecordTooLarge(
                f"the blob of oid {write.oid.hex()} has {blob.size} bytes; the cluster accepts {blob_bytes_max}:"
                " see blob_bytes_max in the nodes' configuration"
            )
        self._put(current, replace(write, blob=blob), path)

    def undo(self, transaction: Any, tid: Tid) -> list[Oid]:
        """Write what undoes the transaction ``tid``; the oids of the objects that this changes. Raises UndoError."""
        current = self._open(transaction)
        oids = []
        try:
            for write in self._undoing.writes(tid, current.begun.buffer):
                self._put(current, write, None)
                oids.append(write.oid)
        except BaseException as error:
            if oids:
                current.doomed = UndoRefused(f"an undo in this transaction has failed: {error}")
            raise
        return oids

    def _open(self, transaction: Any) -> _InProgress:
        current = self._current(transaction)
        if current.vote is not None:
            raise StorageTransactionError("nothing can be written after tpc_vote")
        return current

    def vote(self, transaction: Any) -> list[Oid]:
        """Oids whose conflicts were resolved."""
        current = self._current(transaction)
        if current.doomed is not None:
            raise current.doomed
        if current.vote is None:
            with self._spilling.translated():
                current.vote = self._commits.vote(current.begun)
        return list(current.vote[0].resolved)

    def finish(self, transaction: Any, callback: Callback) -> Tid:
        current = self._current(transaction)
        if current.vote is None:
            raise StorageTransactionError("tpc_finish was called before tpc_vote")
        try:
            return self._commits.finish(*current.vote, callback)
        except CommitOutcomeUnknown as unknown:
            self._remember(unknown)
            raise
        finally:
            self._in_progress.pop(id(transaction), None)
            _unstage(current)

    def abort(self, transaction: Any) -> None:
        """Ignored, as ZODB wants it, where the transaction is not in progress here."""
        current = self._in_progress.pop(id(transaction), None)
        if current is None:
            return
        if current.vote is not None:
            voted, session = current.vote
            self._commits.abort(voted.begun, session)
        _unstage(current)

    def outcome(self, transaction_id: TransactionId) -> Tid | None:
        epoch = self._unknown.get(transaction_id, self._commits.cluster.directory.topology.epoch)
        try:
            outcome = self._commits.outcome(transaction_id, ATTEMPT_MAX, epoch)
        except ClusterUnavailable as unavailable:
            raise CommitOutcomeUnknown(str(unavailable), transaction_id, epoch) from None
        if outcome.result is tx.Result.FORGOTTEN:
            raise CommitOutcomeUnknown("the cluster no longer remembers transactions this old", transaction_id, epoch)
        self._unknown.pop(transaction_id, None)
        return outcome.tid if outcome.result is tx.Result.COMMITTED else None

    def _remember(self, unknown: CommitOutcomeUnknown) -> None:
        self._unknown[unknown.transaction_id] = unknown.epoch
        while len(self._unknown) > UNKNOWN_MAX:
            del self._unknown[next(iter(self._unknown))]

    def _current(self, transaction: Any) -> _InProgress:
        current = self._in_progress.get(id(transaction))
        if current is None:
            raise StorageTransactionError("called with a transaction that is not in progress here")
        return current

    def _check_limits(self, buffer: tx.Buffer, write: tx.Write) -> None:
        limits, size = self._commits.cluster.limits, len(write.data or b"")
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


def _unstage(current: _InProgress) -> None:
    if current.staging is not None:
        current.staging.end()


def _text(said: bytes | str) -> bytes:
    """ZODB's own transactions say bytes; some callers of storages do not."""
    return said if isinstance(said, bytes) else said.encode("utf-8", "surrogateescape")


def _extension(transaction: Any) -> bytes:
    """Verbatim where there are bytes; some storages' iterators give only the dictionary."""
    verbatim: bytes | None = getattr(transaction, "extension_bytes", None)
    if verbatim is None:
        verbatim = TransactionMetaData(extension=transaction.extension).extension_bytes
    return verbatim
