"""A step of a pack, applied to the rows of the state.

Applied again it changes nothing: a copy of the database may hold rows newer than the entries that follow them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from springtide.engine import layout, outcomes
from springtide.records.entries import Blob
from springtide.records.ids import Oid, Tid
from springtide.records.packs import PackStep


@dataclass
class Swept:
    """What entries of packs did.

    ``packs``: the lsn of the last one; 0: there was none. ``superseded``: where packs have ended, what something at or
    below this tid had replaced is no history any more. ``objects``: by how much the number of objects that exist has
    changed. ``gone``: of these nothing is left. ``blobs``: the files that belonged to what went.
    """

    packs: int = 0
    superseded: Tid | None = None
    objects: int = 0
    gone: list[Oid] = field(default_factory=list)
    blobs: list[tuple[Oid, Tid, Blob]] = field(default_factory=list)


def sweep(txn: Any, tables: Mapping[str, Any], step: PackStep, packed: Tid, swept: Swept) -> None:
    """Take the revisions of ``step`` out of the tables, within ``txn``.

    The row of the transaction ``packed`` stays even where nothing is left of it: it says how far tids have come.
    """
    objects, transactions, commits = tables["objects"], tables["transactions"], tables["commits"]
    cursor = txn.cursor(objects)
    last = len(step.removed) - 1
    for at, (tid, oids) in enumerate(step.removed):
        for oid in oids:
            _remove(cursor, oid, tid, swept)
        if at == last and step.goes_on:
            continue  # its row may be a megabyte, and is written once
        removed = None if at == 0 and step.went_on else frozenset(oids)
        _shorten(txn, objects, transactions, commits, tid, removed, tid == packed)


def _remove(cursor: Any, oid: Oid, tid: Tid, swept: Swept) -> None:
    """Takes one look at the neighbours: older revisions are before it, newer ones after it."""
    key = oid + tid
    more = cursor.set_range(key)
    found = more and bytes(cursor.key()) == key
    lived = False
    if found:
        value = cursor.value()
        lived = not value[layout.FLAGS_AT] & layout.DELETED
        if value[layout.FLAGS_AT] & layout.HAS_BLOB:
            blob = layout.decode_record(key, value).blob
            assert blob is not None, "the flag says so"
            swept.blobs.append((oid, tid, blob))
        cursor.delete()
        more = bool(cursor.key())
    newer = more and cursor.key()[:8] == oid
    older = (cursor.prev() if more else cursor.last()) and cursor.key()[:8] == oid
    lives = older and not cursor.value()[layout.FLAGS_AT] & layout.DELETED
    if found and not newer:
        swept.objects += int(lives) - int(lived)
    if not newer and not older:
        swept.gone.append(oid)
    if older:
        _mark_gap(cursor)


def _mark_gap(cursor: Any) -> None:
    """This revision stays, and was not what readers saw once the one that is gone had replaced it."""
    key, value = bytes(cursor.key()), bytes(cursor.value())
    if not value[layout.FLAGS_AT] & layout.GAP:
        payload = bytearray(layout.unseal("objects", key, value))
        payload[0] |= layout.GAP
        cursor.put(key, layout.seal(key, bytes(payload)))


def _shorten(
    txn: Any, objects: Any, transactions: Any, commits: Any, tid: Tid, removed: frozenset[Oid] | None, stays: bool
) -> None:
    """The row of a transaction from then on names what is left of it. ``removed`` None: steps before took some, too."""
    value = txn.get(tid, db=transactions)
    if value is None:
        return
    row = layout.decode_transaction_row(tid, value)
    if removed is None:
        kept = tuple(oid for oid in row.oids if txn.get(oid + tid, db=objects) is not None)
    else:
        kept = tuple(oid for oid in row.oids if oid not in removed)
    if kept or stays:
        if len(kept) != len(row.oids):
            txn.put(tid, layout.encode_row(row.point, row.head, row.size, kept), db=transactions)
    else:
        txn.delete(tid, db=transactions)
        outcomes.outlive(txn, commits, row.head.id, tid)
