"""The revisions that the state holds, read from another process, in short looks: a ``marking.Source``.

A look that lasts keeps every page that is freed meanwhile, so it is given up after some reads, and whenever
whoever reads waits for something.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import lmdb

from springtide import errors
from springtide.engine import layout
from springtide.engine.meta import DEAD
from springtide.engine.values import TABLES
from springtide.records.entries import Write
from springtide.records.ids import OID_LIMIT, TID_ZERO, Oid, Tid, next_tid, number, oid

#: Reads in one look: some milliseconds.
_READS_AT_ONCE = 500
#: A state that was replaced: how long and how often to look for the other.
_REOPEN_SECONDS, _REOPENS_MAX = 0.05, 200
_ROWS_AT_ONCE, _BYTES_AT_ONCE = 500, 2**22


class NextDoor:
    def __init__(self, state: Path, map_bytes: int) -> None:
        self._state, self._map_bytes = state, map_bytes
        self._look: tuple[Any, Any] | None = None
        self._reads = 0
        self._open()

    def _open(self) -> None:
        options: dict[str, Any] = {"max_dbs": len(TABLES), "readonly": True, "create": False}
        self._env = lmdb.open(str(self._state), map_size=self._map_bytes, **options)
        self._objects = self._env.open_db(b"objects", create=False)
        self._transactions = self._env.open_db(b"transactions", create=False)
        self._meta = self._env.open_db(b"meta", create=False)

    def _begin(self) -> Any:
        """A look at the state that is in use: where a compacted one has taken its place, that one."""
        for _ in range(_REOPENS_MAX):
            txn = self._env.begin(buffers=True)
            if txn.get(DEAD, db=self._meta) is None:
                return txn
            txn.abort()
            self._reopen()
        raise errors.Stopping(f"no state in {self._state} is in use")

    def _reopen(self) -> None:
        self._env.close()
        for _ in range(_REOPENS_MAX):
            time.sleep(_REOPEN_SECONDS)
            with contextlib.suppress(lmdb.Error):  # between two renames there is none
                self._open()
                return
        raise errors.Stopping(f"there is no state in {self._state}")

    def close(self) -> None:
        self.release()
        self._env.close()

    def release(self) -> None:
        """Hold nothing back: call it before waiting."""
        if self._look is not None:
            txn, cursor = self._look
            cursor.close()
            txn.abort()
            self._look = None

    def _cursor(self) -> Any:
        self._reads += 1
        if self._reads % _READS_AT_ONCE == 0:
            self.release()
        if self._look is None:
            txn = self._begin()
            self._look = txn, txn.cursor(self._objects)
        return self._look[1]

    # -- marking.Source ------------------------------------------------------------------------------

    def transactions(self, after: Tid, through: Tid) -> Iterator[tuple[Tid, Sequence[Oid]]]:
        while after < through:
            rows = self._rows(next_tid(after), through)
            if not rows:
                return
            yield from rows
            after = rows[-1][0]

    def _rows(self, start: Tid, through: Tid) -> list[tuple[Tid, Sequence[Oid]]]:
        found: list[tuple[Tid, Sequence[Oid]]] = []
        size = 0
        with self._begin() as txn:
            cursor = txn.cursor(self._transactions)
            more = cursor.set_range(start)
            while more and len(found) < _ROWS_AT_ONCE and size < _BYTES_AT_ONCE:
                key, value = bytes(cursor.key()), cursor.value()
                if key > through:
                    break
                found.append((Tid(key), layout.decode_transaction_row(key, value).oids))
                size += len(value)
                more = cursor.next()
        return found

    def write(self, oid: Oid, tid: Tid) -> Write | None:
        cursor = self._cursor()
        return layout.decode_record(oid + tid, cursor.value()) if cursor.set_key(oid + tid) else None

    def current(self, oid: Oid, through: Tid) -> tuple[Tid, bool] | None:
        cursor = self._cursor()
        if cursor.prev() if cursor.set_range(oid + next_tid(through)) else cursor.last():
            key = bytes(cursor.key())
            if key[:8] == oid:
                return Tid(key[8:]), not cursor.value()[layout.FLAGS_AT] & layout.DELETED
        return None

    def tids(self, oid: Oid) -> list[Tid]:
        cursor = self._cursor()
        found = []
        more = cursor.set_range(oid + TID_ZERO)
        while more and cursor.key()[:8] == oid:
            found.append(Tid(bytes(cursor.key()[8:])))
            more = cursor.next()
        return found[::-1]

    def oldest(self) -> Iterator[tuple[Oid, Tid]]:
        start = Oid(bytes(8))
        while self._cursor().set_range(start):
            key = bytes(self._cursor_key())
            yield Oid(key[:8]), Tid(key[8:])
            if number(key[:8]) + 1 >= OID_LIMIT:
                return
            start = oid(number(key[:8]) + 1)

    def _cursor_key(self) -> Any:
        assert self._look is not None, "it was just looked at"
        return self._look[1].key()
