"""What the committed entries say, in LMDB: the newest state and every revision before it.

Written by one thread (``applier``), in batches of one synced transaction with the
applied point inside; read by any thread in short transactions. Applying an entry
again changes nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from springtide import errors
from springtide.engine import layout, outcomes
from springtide.engine.limits import check_row
from springtide.engine.meta import Meta, packed, taken_in
from springtide.engine.rows import ReadTransaction, Rows
from springtide.engine.sweeping import Swept, sweep
from springtide.engine.values import Decoded, Import
from springtide.records.entries import Transaction, Write
from springtide.records.ids import Tid, number
from springtide.records.packed import views_of
from springtide.records.packs import PackEnd, PackStep
from springtide.records.position import Point

_AFTER_ALL_TIDS = b"\xff" * 8


class State(Rows):
    """``Rows`` has what is read; here is what the applying thread writes."""

    # -- applying (one thread) ---------------------------------------------------------------------

    def apply(self, batch: Sequence[Decoded]) -> Swept:
        """One synced transaction for all of ``batch``, which follows what is applied. Returns what packs took away."""
        swept = Swept()
        with self.env.begin(write=True, buffers=True) as txn:
            meta = self.meta
            if batch[0].lsn != meta.applied.lsn + 1:
                raise errors.Broken("I5", f"entry {batch[0].lsn} would be applied after {meta.applied.lsn}")
            for decoded in batch:
                if decoded.transaction is not None:
                    added = self._put_writes(txn, decoded.transaction.tid, decoded.transaction.writes)
                    meta = replace(meta, objects=meta.objects + added)
                    self._put_transaction(txn, decoded.entry.point, decoded.transaction)
                elif decoded.pack is not None:
                    meta = packed(meta, decoded.pack, decoded.lsn)
                    swept.packs = meta.packs
                    if isinstance(decoded.pack, PackEnd):
                        swept.superseded = meta.packed
                    elif isinstance(decoded.pack, PackStep):
                        self._sweep(txn, decoded.pack, meta, swept)
                elif decoded.forget is not None:
                    meta = replace(meta, forgotten=max(meta.forgotten, decoded.forget.before))
                    outcomes.forget(txn, self._tables["commits"], self._tables["transactions"], decoded.forget)
            meta = replace(self._applied(meta, batch), objects=meta.objects + swept.objects)
            self._write_meta(txn, meta)
            self.packed = meta.packed  # before anybody can miss what is gone
        self.meta, self.packs = meta, meta.packs
        return swept

    def _sweep(self, txn: ReadTransaction, step: PackStep, meta: Meta, swept: Swept) -> None:
        """What is gone is noted for ever, for those who come back and have cached it: eight bytes an object.

        A copy of the database may have brought the note already; then that one counts, as it does elsewhere.
        """
        before = len(swept.gone)
        sweep(txn, self._tables, step, meta.packed, swept)
        if gone := sorted(set(swept.gone[before:])):
            key = meta.packs.to_bytes(8, "big")
            txn.put(key, layout.seal(key, b"".join(gone)), db=self._tables["gone"], overwrite=False)

    def apply_slice(self, decoded: Decoded, start: int, stop: int) -> None:
        """A part of the writes of one large transaction; ``apply_rest`` ends it."""
        assert decoded.transaction is not None, "only transactions are large"
        with self.env.begin(write=True, buffers=True) as txn:
            added = self._put_writes(txn, decoded.transaction.tid, decoded.transaction.writes[start:stop])
            meta = replace(self.meta, applying=decoded.lsn, objects=self.meta.objects + added)
            self._write_meta(txn, meta)
        self.meta = meta

    def apply_rest(self, decoded: Decoded) -> None:
        assert decoded.transaction is not None, "only transactions are large"
        with self.env.begin(write=True, buffers=True) as txn:
            self._put_transaction(txn, decoded.entry.point, decoded.transaction)
            meta = self._applied(self.meta, (decoded,))
            self._write_meta(txn, meta)
        self.meta = meta

    @staticmethod
    def _applied(meta: Meta, batch: Sequence[Decoded]) -> Meta:
        tids = [decoded.transaction.tid for decoded in batch if decoded.transaction is not None]
        return replace(
            meta,
            applied=batch[-1].entry.point,
            applied_tid=tids[-1] if tids else meta.applied_tid,
            last_oid=max(meta.last_oid, *(decoded.highest_oid for decoded in batch)),
        )

    def _put_writes(self, txn: ReadTransaction, tid: Tid, writes: Sequence[Write]) -> int:
        cursor = txn.cursor(self.objects)
        added = 0
        for write in views_of(writes):
            key = write.oid + tid
            added += _put(cursor, key, layout.encode_record(key, write))
        return added

    def _put_transaction(self, txn: ReadTransaction, point: Point, transaction: Transaction) -> None:
        row = layout.encode_transaction_row(point, transaction)
        txn.put(transaction.tid, row, db=self._tables["transactions"])
        outcomes.remember(txn, self._tables["commits"], transaction.id, transaction.tid)

    # -- taking in a snapshot (the same thread) --------------------------------------------------------

    def take_in(self, table: str, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Store rows of another node as they are, and how far it came, in one synced transaction."""
        importing = self.meta.importing
        assert importing is not None and rows, "an import was begun"
        meta, objects, last_oid = self.meta, self.meta.objects, self.meta.last_oid
        with self.env.begin(write=True, buffers=True) as txn:
            cursor = txn.cursor(self._tables[table])
            for key, value in rows:
                check_row(table, key, value)
                if table == "objects":
                    objects += _put(cursor, key, value)
                    last_oid = max(last_oid, number(key[:8]))
                elif table == "meta":
                    meta = taken_in(meta, key, bytes(layout.unseal(table, key, value)))
                else:
                    cursor.put(key, value)
            imported = Import(importing.base, table, rows[-1][0])
            meta = replace(meta, objects=objects, last_oid=max(last_oid, meta.last_oid), importing=imported)
            self._write_meta(txn, meta)
        self.meta, self.packed, self.packs = meta, meta.packed, meta.packs

    def copied_tid(self) -> Tid:
        """The tid of the newest transaction that is here as a whole, now that all rows are."""
        return max(self.meta.applied_tid, self.tid_at(self.meta.applied.lsn))

    def end_import(self, complete_at: int) -> None:
        meta = replace(self.meta, importing=None, complete_at=complete_at, applied_tid=self.copied_tid())
        with self.env.begin(write=True, buffers=True) as txn:
            self._write_meta(txn, meta)
        self.meta = meta


def _put(cursor: Any, key: bytes, value: bytes) -> int:
    """Store a revision; returns by how much the number of objects that exist has changed."""
    lives = not value[layout.FLAGS_AT] & layout.DELETED
    lived = False
    if cursor.prev() if cursor.set_range(key[:8] + _AFTER_ALL_TIDS) else cursor.last():
        newest, stored = cursor.item()
        if newest[:8] == key[:8]:
            if bytes(newest) >= key:
                cursor.put(key, value)
                return 0
            lived = not stored[layout.FLAGS_AT] & layout.DELETED
    cursor.put(key, value)
    return int(lives) - int(lived)
