"""Which tids and oids can be stored: those that leave room for a next one.

Pure. The last tid stands for "no limit" everywhere in ZODB, and both are signed
64-bit numbers to much of what reads them.
"""

from __future__ import annotations

from springtide import errors
from springtide.engine import layout
from springtide.engine.meta import FORGOTTEN, LAST_OID, PACKED, PACKING, PACKS, Meta, taken_in
from springtide.records.entries import Malformed
from springtide.records.ids import TID_MAX, TID_ZERO, TRANSACTION_ID_BYTES, Tid, number

#: Oids end below this number.
OIDS_END = 2**63


def check_tid(tid: Tid, where: str) -> None:
    if not TID_ZERO < tid < TID_MAX:
        raise Malformed(f"{where} has tid {tid.hex()}: tids are above {TID_ZERO.hex()} and below {TID_MAX.hex()}")


def check_grows(tid: Tid, newest: Tid, where: str) -> None:
    if tid <= newest:
        raise Malformed(f"{where} has tid {tid.hex()}, but the log before it has tid {newest.hex()}: tids only grow")


def check_oids(end: int, where: str) -> None:
    """``end`` follows the last oid."""
    if end > OIDS_END:
        raise Malformed(f"{where} has an oid above {OIDS_END - 1:016x}")


def check_row(table: str, key: bytes, value: bytes) -> None:
    """A row of another node's state must be whole, and say what that node could have applied."""
    where = f"the row {key.hex()} of table {table} of the snapshot"
    try:
        payload = layout.unseal(table, key, value)
    except errors.Damaged as error:
        raise Malformed(f"a row of the snapshot arrived damaged: {error}") from error
    match table:
        case "objects" if len(key) == 16 and len(value) >= layout.RECORD_BYTES_MIN:
            check_oids(number(key[:8]) + 1, where)
            check_tid(Tid(key[8:]), where)
        case "transactions" if len(key) == 8 and len(payload) >= layout.TRANSACTION_BYTES:
            check_tid(Tid(key), where)
        case "commits" if len(key) == TRANSACTION_ID_BYTES and len(payload) == 8:
            check_tid(Tid(bytes(payload)), where)
        case "commits" if len(key) == 8 and len(payload) == TRANSACTION_ID_BYTES:
            check_tid(Tid(key), where)
        case "gone" if len(key) == 8 and payload and len(payload) % 8 == 0:
            return
        case "meta" if key == LAST_OID and len(payload) == 8:
            check_oids(number(bytes(payload)) + 1, where)
        case "meta" if key in (PACKED, FORGOTTEN) and len(payload) == 8 and bytes(payload) < TID_MAX:
            return
        case "meta" if key == PACKS and len(payload) == 8:
            return
        case "meta" if key == PACKING:
            taken_in(Meta(""), key, bytes(payload))
        case _:
            raise Malformed(f"{where} is none: it has {len(key)} and {len(payload)} bytes")
