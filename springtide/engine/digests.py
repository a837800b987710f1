"""Digests of ranges of the committed state, to compare nodes record for record.

Where a range begins depends only on the keys themselves, so two nodes that differ
in one record differ in one range. Every checksum is verified on the way.
"""

from __future__ import annotations

import hashlib
import zlib
from collections.abc import Callable, Iterator

from springtide.engine import layout
from springtide.engine.values import MIB, RangeDigest
from springtide.records.ids import Tid

RANGE_RECORDS = 10_000
_BYTES_AT_ONCE = 4 * MIB
_ROWS_AT_ONCE = 2_000
_LAST = b"\xff" * 8

Rows = Callable[[str, bytes, int, int], list[tuple[bytes, bytes]]]


def digests(
    rows: Rows, table: str, through: Tid, first: bytes, last: bytes, range_records: int
) -> Iterator[RangeDigest]:
    """Ranges of about ``range_records`` keys (oids, or tids; 0: as many as is good) from ``first`` through ``last``."""
    range_records = range_records or RANGE_RECORDS
    current: _Range | None = None
    previous = b""
    for key, value in _stored(rows, table, first, last or _LAST):
        layout.unseal(table, key, value)
        if key[-8:] > through:
            continue
        name = key[:8]
        if current is not None and name != previous and zlib.crc32(name) % range_records == 0:
            yield current.digest(previous)
            current = None
        if current is None:
            current = _Range(name)
        current.add(key, value)
        previous = name
    if current is not None:
        yield current.digest(previous)


class _Range:
    def __init__(self, first: bytes) -> None:
        self._first = first
        self._records = 0
        self._digest = hashlib.blake2b(digest_size=16)

    def add(self, key: bytes, value: bytes) -> None:
        payload = memoryview(value)[layout.FLAGS_AT :]
        self._digest.update(key)
        self._digest.update(len(payload).to_bytes(8, "big"))
        self._digest.update(payload)
        self._records += 1

    def digest(self, last: bytes) -> RangeDigest:
        return RangeDigest(self._first, last, self._records, self._digest.digest())


def _stored(rows: Rows, table: str, first: bytes, last: bytes) -> Iterator[tuple[bytes, bytes]]:
    start, more = first, True
    while more:
        found = rows(table, start, _BYTES_AT_ONCE, _ROWS_AT_ONCE)
        more = bool(found)
        for key, value in found:
            if key[:8] > last:
                return
            yield key, value
            start = key + b"\0"
