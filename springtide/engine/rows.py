"""The state's file, and what is read of it: any thread, in short transactions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import lmdb

from springtide import errors
from springtide.engine import layout, outcomes
from springtide.engine.files import Files
from springtide.engine.gate import Gate
from springtide.engine.meta import CARRIED, DEAD, Meta, decode_meta, encode_meta
from springtide.engine.probe import probe
from springtide.engine.translation import translated
from springtide.engine.values import TABLES, EngineOptions, Import
from springtide.records.entries import Write
from springtide.records.forget import Forget
from springtide.records.ids import TID_ZERO, Oid, Tid, next_tid

_READ_TRANSACTIONS_SPARE = 16
_GONE_BYTES_AT_ONCE = 2**18

ReadTransaction = Any  # lmdb.Transaction[memoryview]; lmdb has had types of its own only since 3.0


class Rows:
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

    def gone_since(self, packs: int) -> Iterator[tuple[int, tuple[Oid, ...]]]:
        """The objects that packs have taken away since, in order, with what ``packs`` was by then."""
        after = packs.to_bytes(8, "big") + b"\0"
        while rows := self.rows("gone", after, _GONE_BYTES_AT_ONCE):
            for key, value in rows:
                payload = bytes(layout.unseal("gone", key, value))
                oids = tuple(Oid(payload[at : at + 8]) for at in range(0, len(payload), 8))
                yield int.from_bytes(key, "big"), oids
            after = rows[-1][0] + b"\0"

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

    def forgettable(self, below: Tid, ids_max: int) -> Forget | None:
        """What to forget next of what is applied: ids of transactions below ``below``, so many at most."""
        with self._gate, self.env.begin(buffers=True) as txn:
            after = self.meta.forgotten
            return outcomes.step(txn, self._tables["commits"], self._tables["transactions"], after, below, ids_max)

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
