"""What is committed and not yet applied, in memory, where reads look first.

Written by two threads (the loop adds, the applying thread removes) under a lock;
read by any thread without one. The order of steps makes that safe: an entry is in
here before ``through`` names its tid, and leaves only after the state shows it. So a
reader that takes ``through``, then looks here, then in the state, misses nothing.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import NamedTuple, cast

from springtide import errors
from springtide.engine.values import Decoded
from springtide.records.entries import Entry, Transaction, Write
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId, next_tid


class Through(NamedTuple):
    """The commit point as a tid, and the first tid above it."""

    tid: Tid
    limit: Tid


class Revision(NamedTuple):
    tid: Tid
    write: Write


class _Later:
    """A revision whose write is taken out of a large transaction when it is looked at."""

    __slots__ = ("_index", "_oid", "tid")

    def __init__(self, tid: Tid, index: Mapping[Oid, Write], oid: Oid) -> None:
        self.tid, self._index, self._oid = tid, index, oid

    @property
    def write(self) -> Write:
        return self._index[self._oid]


def _tid(revision: Revision) -> Tid:
    return revision.tid


class Overlay:
    def __init__(self, commit_tid: Tid = TID_ZERO) -> None:
        self._lock = threading.Lock()
        self._revisions: dict[Oid, tuple[Revision, ...]] = {}
        #: Transactions with an index of their own: adding one takes no longer than adding a small one.
        self._large: tuple[Decoded, ...] = ()
        self._transactions: dict[Tid, Decoded] = {}
        self._commits: dict[TransactionId, Tid] = {}
        self.through = Through(commit_tid, next_tid(commit_tid))
        self.bytes = 0

    # -- written by the loop and the applying thread ----------------------------------------------

    def add(self, committed: Sequence[Decoded]) -> None:
        with self._lock:
            newest = self.through.tid
            for decoded in committed:
                self.bytes += decoded.memory_bytes
                if decoded.transaction is not None:
                    newest = decoded.transaction.tid
                    self._add(decoded, decoded.transaction)
            self.through = Through(newest, next_tid(newest))

    def _add(self, decoded: Decoded, transaction: Transaction) -> None:
        if transaction.tid <= self.through.tid:
            raise errors.Broken("R11", f"tid {transaction.tid.hex()} is committed after {self.through.tid.hex()}")
        if transaction.id in self._commits:
            raise errors.Broken("I7", f"transaction {transaction.id.hex()} is committed a second time")
        if decoded.index is not None:
            self._large += (decoded,)
        else:
            for write in transaction.writes:
                revision = Revision(transaction.tid, write)
                self._revisions[write.oid] = (*self._revisions.get(write.oid, ()), revision)
        self._transactions[transaction.tid] = decoded
        self._commits[transaction.id] = transaction.tid

    def remove(self, applied: Sequence[Decoded]) -> None:
        """The state shows these now. They are the oldest ones here."""
        with self._lock:
            for decoded in applied:
                self.bytes -= decoded.memory_bytes
                if decoded.transaction is not None:
                    self._remove(decoded, decoded.transaction)

    def _remove(self, decoded: Decoded, transaction: Transaction) -> None:
        if decoded.index is not None:
            self._large = tuple(other for other in self._large if other is not decoded)
        else:
            for write in transaction.writes:
                kept = tuple(r for r in self._revisions.get(write.oid, ()) if r.tid > transaction.tid)
                if kept:
                    self._revisions[write.oid] = kept
                else:
                    self._revisions.pop(write.oid, None)
        self._transactions.pop(transaction.tid, None)
        if self._commits.get(transaction.id) == transaction.tid:
            del self._commits[transaction.id]

    def reset(self, commit_tid: Tid) -> None:
        with self._lock:
            self._revisions, self._large, self._transactions, self._commits = {}, (), {}, {}
            self.bytes = 0
            self.through = Through(commit_tid, next_tid(commit_tid))

    def rise(self, tid: Tid) -> None:
        """The state shows everything through ``tid``."""
        with self._lock:
            if tid > self.through.tid:
                self.through = Through(tid, next_tid(tid))

    # -- read by any thread --------------------------------------------------------------------------

    def revisions(self, oid: Oid) -> tuple[Revision, ...]:
        """What is here of an object, oldest first."""
        found = self._revisions.get(oid, ())
        if not self._large:
            return found
        more = [
            Revision(large.transaction.tid, large.index[oid])
            for large in self._large
            if large.index is not None and large.transaction is not None and oid in large.index
        ]
        return tuple(sorted((*found, *more), key=_tid)) if more else found

    def outcome(self, id_: TransactionId) -> Tid | None:
        return self._commits.get(id_)

    def transaction(self, tid: Tid) -> Transaction | None:
        decoded = self._transactions.get(tid)
        return None if decoded is None else decoded.transaction

    def transactions(self) -> list[Transaction]:
        """Those that are here, in the order of their tids."""
        with self._lock:
            return [decoded.transaction for decoded in self._transactions.values() if decoded.transaction is not None]

    def entries(self) -> list[Entry]:
        """Of the transactions that are here."""
        with self._lock:
            return [decoded.entry for decoded in self._transactions.values()]

    def newest(self, start: Oid, through: Tid) -> dict[Oid, Revision]:
        """Of every object that is here, from ``start`` on: the newest revision that is not above ``through``."""
        with self._lock:
            found = {oid: kept for oid, kept in self._revisions.items() if oid >= start}
            large = self._large
        newest = {}
        for oid, kept in found.items():
            for revision in reversed(kept):
                if revision.tid <= through:
                    newest[oid] = revision
                    break
        for decoded in large:
            assert decoded.index is not None and decoded.transaction is not None, "that is what makes it large"
            tid = decoded.transaction.tid
            for oid in decoded.index if tid <= through else ():
                if oid >= start and (oid not in newest or newest[oid].tid < tid):
                    newest[oid] = cast(Revision, _Later(tid, decoded.index, oid))
        return newest
