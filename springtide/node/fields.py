"""Names in clients' requests, of the right length or refused.

Pure.
"""

from __future__ import annotations

from springtide import errors
from springtide.records.ids import TID_ZERO, TRANSACTION_ID_BYTES, Oid, Tid, TransactionId


def transaction_id_of(data: bytes) -> TransactionId:
    if len(data) != TRANSACTION_ID_BYTES:
        raise errors.BadRequest(f"a transaction id has {TRANSACTION_ID_BYTES} bytes, not {len(data)}")
    return TransactionId(data)


def oid_of(data: bytes) -> Oid:
    if len(data) != 8:
        raise errors.BadRequest(f"an oid has 8 bytes, not {len(data)}")
    return Oid(data)


def tid_of(what: str, data: bytes) -> Tid:
    if len(data) != 8:
        raise errors.BadRequest(f"{what} is a tid, which has 8 bytes, not {len(data)}")
    return Tid(data)


def floor_of(data: bytes) -> Tid:
    """Nothing is a floor, too: whatever this node has will do."""
    return tid_of("floor", data) if data else TID_ZERO
