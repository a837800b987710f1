"""What was, and what is now: reads for undo, for histories, and for walks over all objects.

Each takes the commit point once, as every read does, and looks at no more than fits
into one answer. See ``reader`` for what keeps the overlay and the state together.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import takewhile

from springtide import errors
from springtide.engine import layout
from springtide.engine.overlay import Revision, Through
from springtide.engine.reader import Reader
from springtide.engine.state import State
from springtide.engine.values import MIB, Current, Head, Undoing
from springtide.records.entries import Transaction, TransactionHead
from springtide.records.ids import OID_LIMIT, Oid, Tid, next_tid, number, oid
from springtide.records.packed import oids_of, sizes_of

#: A short look at the state reads no more than so many rows, or bytes.
_ROWS_AT_ONCE = 1_000
_BYTES_AT_ONCE = 4 * MIB


class PastReader(Reader):
    # -- transactions ------------------------------------------------------------------------------

    def heads(self, before: Tid, count: int) -> list[Head]:
        """The newest transactions below ``before`` that are not packed, newest first, at most ``count``."""
        state = self._whole()
        limit = min(before, self._overlay.through.limit)
        waiting = [t for t in self._overlay.transactions() if self.packed < t.tid < limit]
        self._still(state)
        found = [_head_of(transaction) for transaction in reversed(waiting)]
        limit = min(limit, waiting[0].tid) if waiting else limit
        while len(found) < count:
            rows = self._guard(_heads, state, limit, min(_ROWS_AT_ONCE, count - len(found)))
            kept = list(takewhile(lambda row: row.head.tid > self.packed, rows))
            found += [Head(row.head, row.size) for row in kept]
            if not rows or len(kept) < len(rows):
                break
            limit = rows[-1].head.tid
        return found[:count]

    def transaction(self, tid: Tid) -> tuple[TransactionHead, Sequence[Oid]] | None:
        """The head of a committed transaction, and what it wrote; None: there is none."""
        state = self._whole()
        if tid > self._overlay.through.tid:
            return None
        waiting = self._overlay.transaction(tid)
        self._still(state)
        if waiting is not None:
            return _head_of(waiting).head, oids_of(waiting.writes)
        row = self._guard(_row, state, tid)
        return None if row is None else (row.head, row.oids)

    # -- one object --------------------------------------------------------------------------------

    def history(self, oid: Oid, before: Tid, count: int) -> list[Head]:
        """The newest revisions of an object below ``before`` that are still there, newest first, at most ``count``."""
        state = self._whole()
        limit = min(before, self._overlay.through.limit)
        found: list[Head] = []
        for revision in reversed(self._overlay.revisions(oid)):
            written = self._overlay.transaction(revision.tid)
            if revision.tid < limit and written is not None:  # else the state shows it by now
                found.append(_head_of(written).of(revision.write.data))
                limit = revision.tid
        while len(found) < count:
            rows = self._guard(_revisions, state, oid, limit, count - len(found))
            if not rows:
                break
            found += rows
            limit = rows[-1].head.tid
        return found[:count]

    def undoing(self, tid: Tid, oid: Oid) -> Undoing | None:
        """What undoing the transaction ``tid`` must know of one object that it wrote; None: it did not write it."""
        state = self._whole()
        through = self._overlay.through
        undone = self._below(state, oid, min(next_tid(tid), through.limit))
        current = self._below(state, oid, through.limit)
        if undone is None or undone.tid != tid or current is None:
            return None
        before = self._below(state, oid, tid)
        return Undoing(
            oid,
            current.tid,
            current.write.data is None,
            repeats(current, undone),
            undone.write.data is None,
            None if before is None else before.tid,
            None if before is None else before.write,
        )

    def said(self, oid: Oid, tid: Tid, data: bytes | None) -> bool:
        """Whether the transaction ``tid`` is still known to have written just this record of the object."""
        state = self._whole()
        revision = self._below(state, oid, next_tid(tid))
        return revision is not None and revision.tid == tid and revision.write.data == data

    def _below(self, state: State, oid: Oid, limit: Tid) -> Revision | None:
        for revision in reversed(self._overlay.revisions(oid)):
            if revision.tid < limit:
                return revision
        tid, write, _ = self._guard(state.revision, oid, limit)
        return None if tid is None or write is None else Revision(tid, write)

    # -- all objects -------------------------------------------------------------------------------

    def current_records(self, start: Oid, bytes_max: int) -> tuple[list[Current], Oid | None, Tid]:
        """Objects that exist, in the order of their oids, from ``start`` on, as of one commit point.

        As many as fit into ``bytes_max``, at least one where any exists; the oid of the first that did
        not fit; and the commit point.
        """
        state = self._whole()
        through = self._overlay.through
        waiting = self._overlay.newest(start, through.tid)
        self._still(state)
        found: list[Current] = []
        size = 0
        at: Oid | None = start
        while at is not None:
            rows, end = self._guard(_current_rows, state, at, through)
            for name, revision in _merged(rows, waiting, at, end):
                data = revision.write.data
                if data is None:
                    continue
                size += len(data) + 64
                if found and size > bytes_max:
                    return found, name, through.tid
                found.append(Current(name, revision.tid, data))
            at = end
        return found, None, through.tid


def repeats(current: Revision, undone: Revision) -> bool:
    """Whether ``current`` says of its object what ``undone`` said, so that undoing the latter takes nothing away.

    Two revisions that say that an object does not exist do so for their own reasons, unless one repeats the other.
    """
    if current.tid == undone.tid:
        return True
    if current.write.data is None or undone.write.data is None:
        return current.write.data is None and undone.write.data is None and current.write.data_tid == undone.tid
    return current.write.data == undone.write.data and _content(current) == _content(undone)


def _content(revision: Revision) -> tuple[int, bytes] | None:
    """What its file holds: records of blobs are all alike."""
    blob = revision.write.blob
    return None if blob is None else (blob.size, blob.digest)


def _head_of(t: Transaction) -> Head:
    head = TransactionHead(t.tid, t.id, t.user, t.description, t.extension, len(t.writes), t.status)
    return Head(head, sum(sizes_of(t.writes)))


def _row(state: State, tid: Tid) -> layout.TransactionRow | None:
    with state.reading() as txn:
        value = txn.get(tid, db=state.table("transactions"))
        return None if value is None else layout.decode_transaction_row(tid, value)


def _heads(state: State, limit: Tid, count: int) -> list[layout.TransactionRow]:
    """Rows below ``limit``, newest first, without their oids."""
    found: list[layout.TransactionRow] = []
    size = 0
    with state.reading() as txn:
        cursor = txn.cursor(state.table("transactions"))
        more = cursor.prev() if cursor.set_range(limit) else cursor.last()
        while more and len(found) < count and size < _BYTES_AT_ONCE:
            key, value = cursor.item()
            found.append(layout.decode_transaction_row(bytes(key), value, with_oids=False))
            size += len(value)
            more = cursor.prev()
    return found


def _revisions(state: State, oid: Oid, limit: Tid, count: int) -> list[Head]:
    """Revisions below ``limit``, newest first."""
    found: list[Head] = []
    size = 0
    with state.reading() as txn:
        cursor = txn.cursor(state.objects)
        more = cursor.prev() if cursor.set_range(oid + limit) else cursor.last()
        while more and len(found) < min(count, _ROWS_AT_ONCE) and size < _BYTES_AT_ONCE:
            key, value = bytes(cursor.key()), cursor.value()
            if key[:8] != oid:
                break
            tid = Tid(key[8:])
            row = txn.get(tid, db=state.table("transactions"))
            if row is None:
                raise errors.Damaged(f"the state lacks transaction {tid.hex()}, which wrote oid {oid.hex()}")
            told = Head(layout.decode_transaction_row(tid, row, with_oids=False).head, 0)
            found.append(told.of(layout.decode_record(key, value).data))
            size += len(value) + len(row)
            more = cursor.prev()
    return found


def _current_rows(state: State, start: Oid, through: Through) -> tuple[dict[Oid, Revision], Oid | None]:
    """The newest revision of each of the next objects from ``start`` on, and where to go on; None: at the end."""
    found: dict[Oid, Revision] = {}
    size = seen = 0
    with state.reading() as txn:
        cursor = txn.cursor(state.objects)
        more = cursor.set_range(start)
        while more:
            name = Oid(bytes(cursor.key()[:8]))
            if seen >= _ROWS_AT_ONCE or size > _BYTES_AT_ONCE:
                return found, name
            seen += 1
            if cursor.prev() if cursor.set_range(name + through.limit) else cursor.last():
                key, value = bytes(cursor.key()), cursor.value()
                if key[:8] == name:
                    found[name] = Revision(Tid(key[8:]), layout.decode_record(key, value))
                    size += len(value)
            more = number(name) + 1 < OID_LIMIT and cursor.set_range(oid(number(name) + 1))
    return found, None


def _merged(
    rows: dict[Oid, Revision], waiting: dict[Oid, Revision], start: Oid, end: Oid | None
) -> list[tuple[Oid, Revision]]:
    """The newer of both for each object from ``start`` up to ``end``, in the order of oids."""
    merged = dict(rows)
    for name, revision in waiting.items():
        if name >= start and (end is None or name < end) and (name not in merged or merged[name].tid < revision.tid):
            merged[name] = revision
    return sorted(merged.items())
