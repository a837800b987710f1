"""What the committed entries say, in LMDB: the newest state and every revision before it.

Written by one thread (``applier``), in batches of one synced transaction with the
applied point inside; read by any thread in short transactions. Applying an entry
again changes nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import lmdb

from springtide import errors
from springtide.engine import layout
from springtide.engine.files import Files
from springtide.engine.gate import Gate
from springtide.engine.limits import check_row
from springtide.engine.meta import CARRIED, DEAD, Meta, decode_meta, encode_meta, packed, taken_in
from springtide.engine.probe import probe
from springtide.engine.sweeping import Swept, sweep
from springtide.engine.translation import translated
from springtide.engine.values import TABLES, Decoded, EngineOptions, Import
from springtide.records.entries import Transaction, Write
from springtide.records.ids import TID_ZERO, Oid, Tid, next_tid, number
from springtide.records.packed import views_of
from springtide.records.packs import PackStep
from springtide.records.position import Point

_AFTER_ALL_TIDS = b"\xff" * 8
_READ_TRANSACTIONS_SPARE = 16

ReadTransaction = Any  # lmdb.Transaction[memoryview]; lmdb has had types of its own only since 3.0


class State:
    def __init__(self, directory: Path, node: str, options: EngineOptions, begin_import: Import | None = None) -> None:
        """Open the state in ``directory``, or make it; with ``begin_import`` it is made to take in a snapshot."""
        self._directory = directory
        self._gate = Gate()
        is_new = not (directory / "data.mdb").exists()
        if options.probe and not is_new:
            probe(directory, options.map_bytes)
        try:
            self.env = lmdb.open(
                str(directory),
                map_size=options.map_bytes,
                max_dbs=len(TABLES),
                max_readers=options.readers_max,
                max_spare_txns=_READ_TRANSACTIONS_SPARE,
            )
            self._tables = {name: self.env.open_db(name.encode()) for name in TABLES}
            self.objects = self._tables["objects"]
            self.env.reader_check()
            self.env.sync(True)  # what was found may be in the kernel's memory only
            self.meta = self._read_meta() or self._first_meta(node, begin_import)
            #: What lies at or below it is no history any more, and may be missing.
            self.packed, self.packs = self.meta.packed, self.meta.packs
        except lmdb.Error as error:
            raise translated(error, f"opening the state in {directory}") from error
        if self.meta.node != node:
            raise errors.ForeignDirectory(f"the state in {directory} was written by node {self.meta.node!r}")

    def _first_meta(self, node: str, begin_import: Import | None) -> Meta:
        meta = Meta(node)
        if begin_import is not None:
            base = begin_import.base
            meta = Meta(node, applied=base, importing=begin_import, complete_at=base.lsn)
        with self.env.begin(write=True) as txn:
            self._write_meta(txn, meta)
        for directory in (self._directory, self._directory.parent):
            Files().sync_directory(directory)
        return meta

    def close(self) -> None:
        """Waits for those who are reading; who comes later gets ``Stopping``. Blocks."""
        self._gate.shut()
        self.env.close()

    def mark_dead(self) -> None:
        """Another file is the state of this directory from now on: who reads this one next door must open that."""
        with self.env.begin(write=True) as txn:
            txn.put(DEAD, layout.seal(DEAD), db=self._tables["meta"])

    @property
    def is_whole(self) -> bool:
        """False while parts of a copy are missing: what is read then is not true."""
        meta = self.meta
        return meta.importing is None and meta.applied.lsn >= meta.complete_at

    def table(self, name: str) -> Any:
        return self._tables[name]

    def reader_check(self) -> None:
        """Free what readers that died still hold."""
        self.env.reader_check()

    def size_bytes(self) -> int:
        with self._gate:
            return int((self.env.info()["last_pgno"] + 1) * self.env.stat()["psize"])

    # -- reading (any thread) ----------------------------------------------------------------------

    @contextmanager
    def reading(self) -> Iterator[ReadTransaction]:
        """A short look at one moment of the state. What is read must be copied before it ends."""
        with self._gate, self.env.begin(buffers=True) as txn:
            yield txn

    def revision(self, oid: Oid, limit: Tid) -> tuple[Tid | None, Write | None, Tid | None]:
        """The newest revision below ``limit`` with its tid, and the tid of the one that follows it."""
        following: Tid | None = None
        with self._gate, self.env.begin(buffers=True) as txn:
            cursor = txn.cursor(self.objects)
            if cursor.set_range(oid + limit):
                key = bytes(cursor.key())
                if key[:8] == oid:
                    following = Tid(key[8:])
                found = cursor.prev()
            else:
                found = cursor.last()
            if found:
                key = bytes(cursor.key())
                if key[:8] == oid and self._answers(key, cursor.value(), limit):
                    return Tid(key[8:]), layout.decode_record(key, cursor.value()), following
        return None, None, following

    @staticmethod
    def _answers(key: bytes, value: memoryview, limit: Tid) -> bool:
        """Whether nothing was packed away between the revision at ``key`` and ``limit``."""
        return not value[layout.FLAGS_AT] & layout.GAP or next_tid(Tid(key[8:])) == limit

    def newest(self, oid: Oid, limit: Tid) -> Tid | None:
        """The tid of the newest revision below ``limit``."""
        with self._gate, self.env.begin(buffers=True) as txn:
            cursor = txn.cursor(self.objects)
            if cursor.prev() if cursor.set_range(oid + limit) else cursor.last():
                key = bytes(cursor.key())
                if key[:8] == oid:
                    return Tid(key[8:])
        return None

    def get(self, table: str, key: bytes) -> bytes | None:
        """A verified payload."""
        with self._gate, self.env.begin(buffers=True) as txn:
            value = txn.get(key, db=self._tables[table])
            return None if value is None else bytes(layout.unseal(table, key, value))

    def rows(self, table: str, start: bytes, bytes_max: int, rows_max: int = 1_000_000) -> list[tuple[bytes, bytes]]:
        """Rows from key ``start`` on, as stored, in one short transaction: at least one where any exists."""
        found: list[tuple[bytes, bytes]] = []
        size = 0
        with self._gate, self.env.begin(buffers=True) as txn:
            cursor = txn.cursor(self._tables[table])
            more = cursor.set_range(start) if start else cursor.first()
            while more and len(found) < rows_max:
                key, value = cursor.item()
                size += len(key) + len(value)
                if found and size > bytes_max:
                    break
                found.append((bytes(key), bytes(value)))
                more = cursor.next()
        return found

    def reach(self) -> int:
        """The lsn of the newest entry of which anything can have been read by now, perhaps not yet all of it."""
        with self._gate, self.env.begin() as txn:
            stored = self._stored_meta(txn)
            return max(stored.applied.lsn, stored.applying)

    def meta_rows(self, after: bytes) -> Sequence[tuple[bytes, bytes]]:
        """What a snapshot carries of the table meta, after a key."""
        found = [(key, self.get("meta", key)) for key in CARRIED if key > after]
        return [(key, layout.seal(key, value)) for key, value in found if value is not None]

    def writes(self, oids: Sequence[Oid], tid: Tid) -> list[Write]:
        """What the transaction ``tid`` wrote of these objects, and was not packed away."""
        with self._gate, self.env.begin(buffers=True) as txn:
            found = []
            for oid in oids:
                value = txn.get(oid + tid, db=self.objects)
                if value is None:
                    if tid <= self.packed:
                        continue
                    raise errors.Damaged(f"the state lacks the record of oid {oid.hex()} in transaction {tid.hex()}")
                found.append(layout.decode_record(oid + tid, value))
            return found

    def tid_at(self, lsn: int) -> Tid:
        """The tid of the newest transaction at or below ``lsn``. Looks back from the end."""
        with self._gate, self.env.begin() as txn:
            cursor = txn.cursor(self._tables["transactions"])
            more = cursor.last()
            while more:
                if layout.decode_transaction_row(cursor.key(), cursor.value(), False).point.lsn <= lsn:
                    return Tid(cursor.key())
                more = cursor.prev()
        return TID_ZERO

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
                    if isinstance(decoded.pack, PackStep):
                        sweep(txn, self.objects, self._tables["transactions"], decoded.pack, meta.packed, swept)
            meta = replace(self._applied(meta, batch), objects=meta.objects + swept.objects)
            self._write_meta(txn, meta)
            self.packed, self.packs = meta.packed, meta.packs  # before anybody can miss what is gone
        self.meta = meta
        return swept

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
        sealed = layout.seal(transaction.id, transaction.tid)
        if txn.put(transaction.id, sealed, overwrite=False, db=self._tables["commits"]):
            return
        if txn.get(transaction.id, db=self._tables["commits"]) != sealed:  # else it is applied again
            raise errors.Broken("I7", f"transaction {transaction.id.hex()} is committed a second time")

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

    # -- meta ------------------------------------------------------------------------------------------

    def _write_meta(self, txn: ReadTransaction, meta: Meta) -> None:
        for key, payload in encode_meta(meta).items():
            txn.put(key, layout.seal(key, payload), db=self._tables["meta"])

    def _read_meta(self) -> Meta | None:
        """None where nothing was ever written."""
        with self.env.begin() as txn:
            return self._stored_meta(txn) if txn.stat(self._tables["meta"])["entries"] else None

    def _stored_meta(self, txn: ReadTransaction) -> Meta:
        rows = txn.cursor(self._tables["meta"])
        stored = {bytes(key): bytes(layout.unseal("meta", key, value)) for key, value in rows}
        return decode_meta(stored, str(self._directory))


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
