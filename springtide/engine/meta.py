"""What the state says about itself, and how that is written.

Pure.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from springtide import errors
from springtide.engine import layout
from springtide.engine.values import Import
from springtide.records.entries import Malformed
from springtide.records.ids import TID_ZERO, Tid
from springtide.records.packs import Pack, PackBegin, PackEnd, PackStep, decode_pack, encode_pack
from springtide.records.position import ORIGIN, Point

#: The rows of meta that a snapshot carries, in this order.
FORGOTTEN, LAST_OID, PACKED, PACKING, PACKS = CARRIED = (b"forgotten", b"last_oid", b"packed", b"packing", b"packs")

#: In a state that another one has taken the place of.
DEAD = b"dead"


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
    #: The pack point: what lies at or below it is no history any more.
    packed: Tid = TID_ZERO
    #: The pack that has begun and has not ended.
    packing: PackBegin | None = None
    #: The lsn of the last entry of a pack.
    packs: int = 0
    #: Ids of transactions that began below it may be forgotten.
    forgotten: Tid = TID_ZERO


def packed(meta: Meta, pack: Pack, lsn: int) -> Meta:
    """What a pack's entry changes. The pack point never falls."""
    match pack:
        case PackBegin():
            return replace(meta, packed=max(meta.packed, pack.tid), packing=pack, packs=lsn)
        case PackStep():
            return replace(meta, packs=lsn)
        case PackEnd():
            return replace(meta, packing=None, packs=lsn)


def taken_in(meta: Meta, key: bytes, payload: bytes) -> Meta:
    """One of the rows that a snapshot carries has come."""
    match key:
        case b"last_oid":
            return replace(meta, last_oid=max(meta.last_oid, int.from_bytes(payload, "big")))
        case b"packed":
            return replace(meta, packed=max(meta.packed, Tid(payload)))
        case b"forgotten":
            return replace(meta, forgotten=max(meta.forgotten, Tid(payload)))
        case b"packs":
            return replace(meta, packs=max(meta.packs, int.from_bytes(payload, "big")))
        case _:
            return replace(meta, packing=_decode_packing(payload))


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
        FORGOTTEN: meta.forgotten,
        PACKED: meta.packed,
        PACKS: meta.packs.to_bytes(8, "big"),
        PACKING: b"" if meta.packing is None else encode_pack(meta.packing),
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
            forgotten=Tid(stored[FORGOTTEN]),
            packed=Tid(stored[PACKED]),
            packing=_decode_packing(stored[PACKING]),
            packs=int.from_bytes(stored[PACKS], "big"),
        )
    except KeyError as missing:
        raise errors.Damaged(f"the state in {where} lacks {missing} in its table meta") from missing


def _decode_packing(payload: bytes) -> PackBegin | None:
    if not payload:
        return None
    pack = decode_pack(payload)
    if not isinstance(pack, PackBegin):
        raise Malformed("what is said of an unfinished pack is no beginning of one")
    return pack


def _decode_import(payload: bytes) -> Import | None:
    if not payload:
        return None
    table, after = json.loads(payload[layout.POINT_BYTES :])
    return Import(layout.decode_point(payload), table, bytes.fromhex(after))
