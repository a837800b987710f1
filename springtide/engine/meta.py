"""What the state says about itself, and how that is written.

Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from springtide import errors
from springtide.engine import layout
from springtide.engine.values import Import
from springtide.records.ids import TID_ZERO, Tid
from springtide.records.position import ORIGIN, Point

#: The one row of meta that a snapshot carries.
LAST_OID = b"last_oid"


@dataclass(frozen=True, slots=True)
class Meta:
    """What the state says about itself. Written with every change of it."""

    node: str
    applied: Point = ORIGIN
    applied_tid: Tid = TID_ZERO
    #: Entries through this one are committed: one of them was being applied in slices.
    applying: int = 0
    last_oid: int = 0
    objects: int = 0
    #: A snapshot is being taken in, or was: no reads before ``complete_at`` is applied.
    importing: Import | None = None
    complete_at: int = 0


def encode_meta(meta: Meta) -> dict[bytes, bytes]:
    """Payloads by key."""
    importing = b""
    if meta.importing is not None:
        where = json.dumps([meta.importing.table, meta.importing.after.hex()])
        importing = layout.encode_point(meta.importing.base) + where.encode()
    return {
        b"format": layout.STATE_FORMAT.to_bytes(4, "big"),
        b"node": meta.node.encode(),
        b"applied": layout.encode_point(meta.applied) + meta.applied_tid,
        b"applying": meta.applying.to_bytes(8, "big"),
        LAST_OID: meta.last_oid.to_bytes(8, "big"),
        b"objects": meta.objects.to_bytes(8, "big", signed=True),
        b"complete_at": meta.complete_at.to_bytes(8, "big"),
        b"importing": importing,
    }


def decode_meta(stored: dict[bytes, bytes], where: str) -> Meta:
    try:
        layout.check_format(int.from_bytes(stored[b"format"], "big"), layout.STATE_FORMAT, where)
        return Meta(
            node=stored[b"node"].decode(),
            applied=layout.decode_point(stored[b"applied"]),
            applied_tid=Tid(stored[b"applied"][layout.POINT_BYTES :]),
            applying=int.from_bytes(stored[b"applying"], "big"),
            last_oid=int.from_bytes(stored[LAST_OID], "big"),
            objects=int.from_bytes(stored[b"objects"], "big", signed=True),
            importing=_decode_import(stored[b"importing"]),
            complete_at=int.from_bytes(stored[b"complete_at"], "big"),
        )
    except KeyError as missing:
        raise errors.Damaged(f"the state in {where} lacks {missing} in its table meta") from missing


def _decode_import(payload: bytes) -> Import | None:
    if not payload:
        return None
    table, after = json.loads(payload[layout.POINT_BYTES :])
    return Import(layout.decode_point(payload), table, bytes.fromhex(after))
