"""Reads at the commit point, from any thread: the overlay first, then the state.

Nothing above the commit point is shown: a read takes the commit point once, and
what is newer does not exist for it, wherever it may already be stored.

A read keeps to the state with which it began. Where the node begins anew from a
snapshot meanwhile, it raises ``Stopping``, and ``NotCaughtUp`` while rows are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import ParamSpec, TypeVar, overload

import lmdb

from springtide import errors
from springtide.engine import layout, snapshots
from springtide.engine.digests import digests
from springtide.engine.overlay import Overlay
from springtide.engine.state import State
from springtide.engine.translation import translated
from springtide.engine.values import MIB, Import, Loaded, RangeDigest, Result
from springtide.records.entries import Transaction, Write
from springtide.records.ids import TID_MAX, TID_ZERO, Oid, Tid, TransactionId, next_tid
from springtide.records.packed import oids_of
from springtide.records.packs import PackBegin

P = ParamSpec("P")
R = TypeVar("R")

#: Iterating reads so many rows, or bytes, in one short transaction.
_ROWS_AT_ONCE = 500
_BYTES_AT_ONCE = 4 * MIB
_WRITES_AT_ONCE = 100
#: The status of a transaction at or below the pack point, as FileStorage shows it.
PACKED = b"p"


class Reader:
    def __init__(self, state: State, overlay: Overlay) -> None:
        self.state = state
        self._overlay = overlay

    def damage_found(self, error: errors.OperatorError) -> None:
        """A read met it, in any thread; it is raised to the caller of the read as well."""

    @property
    def commit_tid(self) -> Tid:
        """The tid of the newest committed transaction."""
        return self._overlay.through.tid

    @property
    def packs(self) -> int:
        """Grows each time a pack takes objects or revisions away, alike on all nodes; zero: never yet.

        What is read after it has grown lacks what was taken.
        """
        return self.state.packs

    @property
    def packed(self) -> Tid:
        """The pack point: what lies at or below it is no history any more, and cannot be undone."""
        return self.state.packed

    @property
    def packing(self) -> PackBegin | None:
        """The pack that has begun and has not ended, as far as is applied."""
        return self.state.meta.packing

    @property
    def overlay_bytes(self) -> int:
        """Committed and not yet applied."""
        return self._overlay.bytes

    @property
    def importing(self) -> Import | None:
        """The snapshot that is being taken in, and how far it came."""
        return self.state.meta.importing

    def load_before(self, oid: Oid, before: Tid) -> Loaded:
        """The newest revision below ``before``."""
        state = self._whole()
        as_of, limit = self._overlay.through  # before anything is looked up: see Overlay
        if before <= as_of:
            limit = before
        following: Tid | None = None
        for tid, write in reversed(self._overlay.revisions(oid)):
            if tid < limit:
                return _loaded(tid, write, following, as_of)
            if tid <= as_of:
                following = tid
        found, stored, after = self._guard(state.revision, oid, limit)
        if after is not None and after <= as_of and (following is None or after < following):
            following = after
        if found is None or stored is None:
            return Loaded(Result.UNKNOWN if following is None else Result.NOT_YET, b"", TID_ZERO, following, as_of)
        return _loaded(found, stored, following, as_of)

    def load_serial(self, oid: Oid, tid: Tid) -> Loaded:
        """Exactly the revision that the transaction ``tid`` made."""
        state = self._whole()
        if tid <= self._overlay.through.tid:
            loaded = self.load_before(oid, next_tid(tid))
            if loaded.tid == tid and loaded.result in (Result.FOUND, Result.DELETED):
                return loaded
        self._still(state)
        return Loaded(Result.UNKNOWN, b"", TID_ZERO, None, self._overlay.through.tid)

    def current(self, oid: Oid) -> Tid | None:
        """The tid of the newest revision, a deletion included."""
        state = self._whole()
        as_of, limit = self._overlay.through
        for revision in reversed(self._overlay.revisions(oid)):
            if revision.tid <= as_of:
                return revision.tid
        return self._guard(state.newest, oid, limit)

    def outcome(self, id_: TransactionId) -> Tid | None:
        """The tid under which the transaction with this id is committed; None: it is not, as far as is known here."""
        state = self._whole()
        found = self._overlay.outcome(id_)
        if found is None and id_:  # LMDB refuses an empty key
            stored = self._guard(state.get, "commits", id_)
            found = None if stored is None else Tid(stored)
        through = self._overlay.through.tid
        self._still(state)
        return found if found is not None and found <= through else None

    def changed_since(self, tid: Tid) -> Iterator[tuple[Tid, tuple[Oid, ...]]]:
        """Every transaction above ``tid``, up to the commit point as it is now, with the oids it wrote."""
        state = self._whole()
        for row in self._transactions(state, tid, self._overlay.through.tid):
            if isinstance(row, Transaction):
                yield row.tid, tuple(oids_of(row.writes))
            else:
                yield row.head.tid, row.oids

    def gone_since(self, packs: int) -> Iterator[tuple[int, tuple[Oid, ...]]]:
        """The objects that packs have taken away since ``packs`` was as given, in order, with what it was by then."""
        state = self._whole()
        found = state.gone_since(packs)
        while (each := self._guard(next, found, None)) is not None:
            yield each

    def transactions(self, start: Tid = TID_ZERO, stop: Tid = TID_MAX) -> Iterator[Transaction]:
        """Transactions from ``start`` through ``stop``, up to the commit point as it is now.

        The writes are read when they are looked at, so that no transaction need fit in memory.
        """
        state = self._whole()
        after = Tid((int.from_bytes(start, "big") - 1).to_bytes(8, "big")) if start > TID_ZERO else TID_ZERO
        for row in self._transactions(state, after, min(stop, self._overlay.through.tid)):
            if isinstance(row, Transaction):
                yield row
            else:
                head = row.head
                writes = StoredWrites(self, state, head.tid, row.oids)
                status = PACKED if head.tid <= state.packed else head.status
                yield Transaction(head.tid, head.id, head.user, head.description, head.extension, writes, status)

    def _transactions(self, state: State, after: Tid, through: Tid) -> Iterator[layout.TransactionRow | Transaction]:
        waiting = self._overlay.transactions()
        self._still(state)
        more = after < through
        while more:
            rows = self._guard(state.rows, "transactions", next_tid(after), _BYTES_AT_ONCE, _ROWS_AT_ONCE)
            more = bool(rows)
            for key, value in rows:
                if key > through:
                    return
                row = self._guard(layout.decode_transaction_row, key, value)
                after = Tid(key)
                if row.oids or after > state.packed:  # else nothing is left of it
                    yield row
        for transaction in waiting:
            if after < transaction.tid <= through:
                yield transaction

    def object_count(self) -> int:
        return self.state.meta.objects

    def size_bytes(self) -> int:
        """Of the state; the log is bounded by itself."""
        return self._guard(self.state.size_bytes)

    def digests(
        self, through: Tid, first: bytes = b"", last: bytes = b"", range_records: int = 0, transactions: bool = False
    ) -> Iterator[RangeDigest]:
        """Digests of what is applied, up to the tid ``through``, over objects or transactions.

        Two nodes are comparable where both have applied ``through``.
        """
        table = "transactions" if transactions else "objects"
        state = self._whole()
        ranges = digests(state.rows, table, through, first, last, range_records)
        while (found := self._guard(next, ranges, None)) is not None:
            yield found

    def open_export(self) -> snapshots.Export:
        """What a snapshot of this node is read from."""
        return snapshots.Export(self._whole(), self._guard)

    def writes(self, state: State, tid: Tid, oids: Sequence[Oid]) -> list[Write]:
        """What is left of what a transaction wrote. Where it is packed, no record repeats an earlier one."""
        found = self._guard(state.writes, oids, tid)
        return [replace(write, data_tid=None) for write in found] if tid <= state.packed else found

    def _whole(self) -> State:
        """The state to read. First of all: what is committed may be above it, never below."""
        state = self.state
        if not state.is_whole:
            raise errors.NotCaughtUp("this node is taking in a copy of the database")
        return state

    def _still(self, state: State) -> None:
        """The overlay was that of ``state``: it is emptied only after another state has come."""
        if self.state is not state:
            raise errors.Stopping("this node is closing its state")

    def _guard(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        try:
            return function(*arguments, **named)
        except lmdb.Error as error:
            meant = translated(error, "reading the state")
            if isinstance(meant, errors.OperatorError):
                self.damage_found(meant)
            raise meant from error
        except errors.OperatorError as error:
            self.damage_found(error)
            raise


class StoredWrites(Sequence[Write]):
    """The writes of one transaction, read from the state a few at a time.

    Iterating leaves out what is packed away meanwhile; looking at one of these raises IndexError.
    """

    def __init__(self, reader: Reader, state: State, tid: Tid, oids: tuple[Oid, ...]) -> None:
        self._reader = reader
        self._state = state
        self._tid = tid
        self._oids = oids

    def __len__(self) -> int:
        return len(self._oids)

    @overload
    def __getitem__(self, at: int) -> Write: ...
    @overload
    def __getitem__(self, at: slice) -> list[Write]: ...
    def __getitem__(self, at: int | slice) -> Write | list[Write]:
        if isinstance(at, slice):
            return self._reader.writes(self._state, self._tid, self._oids[at])
        return self._reader.writes(self._state, self._tid, (self._oids[at],))[0]

    def __iter__(self) -> Iterator[Write]:
        for start in range(0, len(self._oids), _WRITES_AT_ONCE):
            yield from self[start : start + _WRITES_AT_ONCE]


def _loaded(tid: Tid, write: Write, following: Tid | None, as_of: Tid) -> Loaded:
    if write.data is None:
        return Loaded(Result.DELETED, b"", tid, following, as_of)
    return Loaded(Result.FOUND, write.data, tid, following, as_of, write.blob)
