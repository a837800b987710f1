"""A step of a pack, applied to the rows of the state.

Applied again it changes nothing: a copy of the database may hold rows newer than the entries that follow them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from springtide.engine import layout
from springtide.records.entries import Blob
from springtide.records.ids import Oid, Tid
from springtide.records.packs import PackStep

_AFTER_ALL_TIDS = b"\xff" * 8


@dataclass
class Swept:
    """What steps did.

    ``objects``: by how much the number of objects that exist has changed. ``gone``: of these nothing is left.
    ``blobs``: the files that belonged to what went.
    """

    objects: int = 0
    gone: list[Oid] = field(default_factory=list)
    blobs: list[tuple[Oid, Tid, Blob]] = field(default_factory=list)


def sweep(txn: Any, objects: Any, transactions: Any, step: PackStep, packed: Tid, swept: Swept) -> None:
    """Take the revisions of ``step`` out of both tables, within ``txn``.

    The row of the transaction ``packed`` stays even where nothing is left of it: it says how far tids have come.
    """
    cursor = txn.cursor(objects)
    for tid, oids in step.removed:
        for oid in oids:
            _remove(cursor, oid, tid, swept)
        _shorten(txn, transactions, tid, frozenset(oids), tid == packed)


def _remove(cursor: Any, oid: Oid, tid: Tid, swept: Swept) -> None:
    key = oid + tid
    lived = _newest(cursor, oid)
    if cursor.set_key(key):
        blob = layout.decode_record(key, cursor.value()).blob
        if blob is not None:
            swept.blobs.append((oid, tid, blob))
        cursor.delete()
    lives = _newest(cursor, oid)
    swept.objects += int(lives is True) - int(lived is True)
    if lives is None:
        swept.gone.append(oid)
    _mark_gap(cursor, oid, key)


def _newest(cursor: Any, oid: Oid) -> bool | None:
    """Whether the newest revision says that the object exists; None: there is no revision."""
    if cursor.prev() if cursor.set_range(oid + _AFTER_ALL_TIDS) else cursor.last():
        key, value = cursor.item()
        if key[:8] == oid:
            return not value[layout.FLAGS_AT] & layout.DELETED
    return None


def _mark_gap(cursor: Any, oid: Oid, key: bytes) -> None:
    """An older revision that stays was not what readers saw from ``key`` on."""
    if not (cursor.prev() if cursor.set_range(key) else cursor.last()):
        return
    older, value = bytes(cursor.key()), bytes(cursor.value())
    if older[:8] == oid and not value[layout.FLAGS_AT] & layout.GAP:
        payload = bytearray(layout.unseal("objects", older, value))
        payload[0] |= layout.GAP
        cursor.put(older, layout.seal(older, bytes(payload)))


def _shorten(txn: Any, transactions: Any, tid: Tid, removed: frozenset[Oid], stays: bool) -> None:
    value = txn.get(tid, db=transactions)
    if value is None:
        return
    row = layout.decode_transaction_row(tid, value)
    kept = tuple(oid for oid in row.oids if oid not in removed)
    if kept or stays:
        if len(kept) != len(row.oids):
            txn.put(tid, layout.encode_row(row.point, row.head, row.size, kept), db=transactions)
    else:
        txn.delete(tid, db=transactions)
