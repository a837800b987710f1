"""How the rows of a shelf are written. Each carries a checksum that covers its key, too.

Pure. Rows of another format are not read: the shelf is begun anew.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

from springtide.records.ids import Oid, Tid

FORMAT = 1
#: How the places begin that come first: see ``place_key``.
ENDED_PLACE = b"\0"

_CRC = struct.Struct(">I")
_REVISION = struct.Struct(">BI8sQII")
_STATE = struct.Struct(">HII8sQQHH")


class Doubtful(Exception):
    """What is read cannot have been written: the shelf is not to be trusted."""


class Identity(NamedTuple):
    cluster: str
    history: str


class Known(IntEnum):
    """What is known of how long a revision is the answer."""

    OPEN = 1  # it is current through whatever the shelf knows, as long as its run goes on
    ENDED = 2  # the revision ``at`` follows it
    BOUNDED = 3  # it was current at ``at``


@dataclass(frozen=True, slots=True)
class RevisionRow:
    known: Known
    at: Tid  # with OPEN: nothing
    run: int  # in which it was put down
    place: int  # in the order of eviction
    size: int
    digest: int  # of the record


@dataclass(frozen=True, slots=True)
class State:
    """See ``table``."""

    identity: Identity
    run: int
    trusted: int  # the first run of which nothing can have been taken away unnoticed
    through: Tid
    packs: int
    place: int  # the next one in the order of eviction


def digest(data: bytes) -> int:
    return zlib.crc32(data)


def encode_revision(key: bytes, row: RevisionRow) -> bytes:
    return _seal(key, _REVISION.pack(row.known, row.run, row.at, row.place, row.size, row.digest))


def decode_revision(key: bytes, value: bytes) -> RevisionRow:
    payload = _unseal(key, value)
    if len(payload) != _REVISION.size or len(key) != 16:
        raise Doubtful("a row of a revision has another size")
    known, run, at, place, size, digest_ = _REVISION.unpack(payload)
    return RevisionRow(Known(known), Tid(at), run, place, size, digest_)


def encode_state(key: bytes, state: State) -> bytes:
    cluster, history = (name.encode() for name in state.identity)
    numbers = (FORMAT, state.run, state.trusted, state.through, state.packs, state.place, len(cluster), len(history))
    return _seal(key, _STATE.pack(*numbers) + cluster + history)


def decode_state(key: bytes, value: bytes | None) -> State:
    payload = _unseal(key, value or b"")
    if len(payload) < _STATE.size:
        raise Doubtful("the row of the state is too short")
    format_, run, trusted, through, packs, place, cluster, history = _STATE.unpack_from(payload)
    names = payload[_STATE.size :]
    if format_ != FORMAT or len(names) != cluster + history:
        raise Doubtful(f"it has format {format_}, this version reads {FORMAT}")
    identity = Identity(names[:cluster].decode(), names[cluster:].decode())
    return State(identity, run, trusted, Tid(through), packs, place)


def encode_tid(key: bytes, tid: Tid) -> bytes:
    return _seal(key, tid)


def decode_tid(key: bytes, value: bytes) -> Tid:
    return Tid(_unseal(key, value))


def place_key(row: RevisionRow) -> bytes:
    """In the order in which revisions are given up: first those that ended, then those that came first."""
    return (ENDED_PLACE if row.known is Known.ENDED else b"\1") + row.place.to_bytes(8, "big")


def run_key(run: int) -> bytes:
    return b"run" + run.to_bytes(4, "big")


def oid_of(key: bytes) -> Oid:
    return Oid(key[:8])


def _seal(key: bytes, payload: bytes) -> bytes:
    return _CRC.pack(zlib.crc32(payload, zlib.crc32(key))) + payload


def _unseal(key: bytes, value: bytes) -> bytes:
    if len(value) < 4 or zlib.crc32(value[4:], zlib.crc32(key)) != int.from_bytes(value[:4], "big"):
        raise Doubtful(f"the row {key.hex()} does not have its checksum")
    return value[4:]
