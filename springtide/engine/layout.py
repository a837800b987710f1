"""How things are written on a disk: log segments and frames, rows of the state.

Pure. Disk and wire encodings are separate, so that each may change alone. All
numbers are big-endian, so that the order of keys is the order of numbers. Every
frame and every row carries a checksum, and each checksum is seeded with where the
bytes belong, so that bytes of another place do not pass for damage-free.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from mmap import mmap

from springtide import errors
from springtide.records.entries import (
    Entry,
    Kind,
    Malformed,
    Transaction,
    TransactionHead,
    Write,
    decode_extras,
    encode_extras,
)
from springtide.records.ids import TRANSACTION_ID_BYTES, Oid, Tid, TransactionId
from springtide.records.packed import oids_of, sizes_of
from springtide.records.position import DIGEST_BYTES, Point

LOG_FORMAT = 1
STATE_FORMAT = 1

Buffer = bytes | memoryview


def check_format(found: int, known: int, where: str) -> None:
    if found > known:
        raise errors.NewerFormat(
            f"{where} has format {found}, this version reads up to {known}: "
            "run the springtide that wrote it, or a later one"
        )


# -- log segments ------------------------------------------------------------------------------

_SEGMENT = struct.Struct(f">8sHxxIQQ{DIGEST_BYTES}s")
_SEGMENT_MAGIC = b"SPRTIDE\n"
_CRC = struct.Struct(">I")
SEGMENT_HEADER_BYTES = _SEGMENT.size + _CRC.size

#: The frame of an entry: magic, checksum of all that follows (body included), length of the
#: body, epoch, lsn, the highest lsn known to be synced when this was written, kind, digest.
_FRAME = struct.Struct(f">4sIIQQQB{DIGEST_BYTES}s")
FRAME_MAGIC = b"\xa5\xe7\x1d\n"
FRAME_BYTES = _FRAME.size
#: What precedes the body of the first entry in a segment, at least.
BEFORE_BODY_BYTES = SEGMENT_HEADER_BYTES + FRAME_BYTES
_CHECKED_FROM = 8  # the checksum covers a frame from here on
BODY_BYTES_MAX = 2**32 - 1
_KINDS = {int(kind): kind for kind in Kind}

#: A disk writes a sector whole or not at all, so what is missing after a power loss is
#: missing by the sector.
_SECTOR_BYTES = 512


def encode_segment_header(base: Point, begin: int = SEGMENT_HEADER_BYTES) -> bytes:
    """The head of a segment whose first entry follows ``base``; its frame is at ``begin``."""
    head = _SEGMENT.pack(_SEGMENT_MAGIC, LOG_FORMAT, begin, base.epoch, base.lsn, base.digest)
    return head + _CRC.pack(zlib.crc32(head))


def decode_segment_header(data: Buffer, where: str) -> tuple[Point, int, int]:
    """The base of a segment, the seed of the checksums of its frames, and where the first of them is."""
    if len(data) < SEGMENT_HEADER_BYTES or data[:8] != _SEGMENT_MAGIC:
        raise errors.Damaged(f"{where} does not begin as a log segment does")
    _, version, begin, epoch, lsn, digest = _SEGMENT.unpack_from(data)
    check_format(version, LOG_FORMAT, where)
    (crc,) = _CRC.unpack_from(data, _SEGMENT.size)
    if zlib.crc32(data[: _SEGMENT.size]) != crc:
        raise errors.Damaged(f"the head of {where} is damaged")
    return Point(epoch, lsn, digest), crc, begin


def encode_frame(entry: Entry, seed: int, synced: int) -> bytes:
    """What precedes the body of ``entry`` in a segment."""
    head = _FRAME.pack(FRAME_MAGIC, 0, len(entry.body), entry.epoch, entry.lsn, synced, entry.kind, entry.digest)
    crc = zlib.crc32(head[_CHECKED_FROM:], seed)
    crc = entry.ahead.crc_after(crc) if entry.ahead is not None else zlib.crc32(entry.body, crc)
    return head[:4] + _CRC.pack(crc) + head[_CHECKED_FROM:]


class Frame:
    """A frame at ``at`` in the bytes of a segment, its checksum verified."""

    __slots__ = ("at", "digest", "end", "epoch", "kind", "lsn", "synced")

    def __init__(self, at: int, end: int, epoch: int, lsn: int, synced: int, kind: Kind, digest: bytes) -> None:
        self.at = at
        self.end = end
        self.epoch = epoch
        self.lsn = lsn
        self.synced = synced
        self.kind = kind
        self.digest = digest

    @property
    def point(self) -> Point:
        return Point(self.epoch, self.lsn, self.digest)

    def entry(self, data: Buffer) -> Entry:
        """The entry in ``data``: of a view, its body is a view as well."""
        return Entry(self.epoch, self.lsn, self.kind, self.digest, data[self.at + FRAME_BYTES : self.end])


def unverified_point(head: Buffer) -> Point:
    """What a frame without its body says it is; its checksum cannot be verified without the body."""
    if len(head) < FRAME_BYTES:
        return Point(0, 0, b"")
    _, _, _, epoch, lsn, _, _, digest = _FRAME.unpack(head)
    return Point(epoch, lsn, digest)


def decode_frame(data: memoryview, at: int, seed: int) -> Frame | None:
    """The frame at ``at``, or None if what is there is not one, or not whole, or damaged."""
    if len(data) - at < FRAME_BYTES:
        return None
    magic, crc, length, epoch, lsn, synced, kind, digest = _FRAME.unpack_from(data, at)
    end = at + FRAME_BYTES + length
    if magic != FRAME_MAGIC or end > len(data) or zlib.crc32(data[at + _CHECKED_FROM : end], seed) != crc:
        return None
    known = _KINDS.get(kind)
    if known is None:
        raise errors.NewerFormat(f"the log has an entry of kind {kind} at lsn {lsn}, which this version does not know")
    return Frame(at, end, epoch, lsn, synced, known, digest)


def is_torn(data: bytes | mmap, at: int, seed: int, lsn: int) -> bool:
    """Whether the bad bytes at ``at``, where the frame of ``lsn`` should be, are an unfinished write.

    Asked about the last segment only. If nothing valid follows, they are. If a valid
    frame follows that was written when ``lsn`` was already synced, they are damage. Else
    both were in one group that was perhaps never synced, and a disk may write its sectors in any
    order: then they are unfinished only where a sector is missing, which shows as zeros.
    """
    view = memoryview(data)
    search = at + 1
    while (search := data.find(FRAME_MAGIC, search)) >= 0:
        frame = decode_frame(view, search, seed)
        if frame is not None and frame.lsn > lsn:
            return frame.synced < lsn and _misses_a_sector(data, at, search)
        search += 1
    return True


def _misses_a_sector(data: bytes | mmap, start: int, end: int) -> bool:
    while start < end:
        sector_end = min(end, (start // _SECTOR_BYTES + 1) * _SECTOR_BYTES)
        if not any(data[start:sector_end]):
            return True
        start = sector_end
    return False


# -- rows of the state -------------------------------------------------------------------------


def seal(key: bytes, *payload: bytes) -> bytes:
    """The value to store under ``key``: a checksum of both, then the payload."""
    crc = zlib.crc32(key)
    for part in payload:
        crc = zlib.crc32(part, crc)
    return b"".join((_CRC.pack(crc), *payload))


def unseal(table: str, key: bytes, value: Buffer) -> Buffer:
    """The payload of a stored value, verified."""
    if len(value) < 4 or zlib.crc32(value[4:], zlib.crc32(key)) != int.from_bytes(value[:4], "big"):
        raise errors.Damaged(f"the row {key.hex()} of table {table} in the state is damaged: its checksum differs")
    return value[4:]


DELETED, REPEATS, HAS_BLOB = 1, 2, 8
#: What followed this revision was packed away: it is no answer to what an object was after it.
GAP = 128
_RECORD = struct.Struct(">B8s")  # flags, data tid; then what the flags announce; then the record
#: Where the flags are in a stored value.
FLAGS_AT = 4
#: The least that a stored value holds.
RECORD_BYTES_MIN = 4 + _RECORD.size


def encode_record(key: bytes, write: Write) -> bytes:
    """The value of one revision of one object."""
    flags, more = encode_extras(write)
    return seal(key, _RECORD.pack(flags, write.data_tid or bytes(8)), more, write.data or b"")


def decode_record(key: bytes, value: Buffer) -> Write:
    payload = unseal("objects", key, value)
    if len(payload) < _RECORD.size:
        raise errors.Damaged(f"the row {key.hex()} of table objects in the state is too short")
    flags, data_tid = _RECORD.unpack_from(payload)
    try:
        references, blob, at = decode_extras(flags, payload, _RECORD.size)
    except Malformed as error:
        raise errors.Damaged(f"the row {key.hex()} of table objects in the state is malformed: {error}") from error
    data = None if flags & DELETED else bytes(payload[at:])
    return Write(Oid(key[:8]), data, Tid(data_tid) if flags & REPEATS else None, references, blob)


_TRANSACTION = struct.Struct(f">QQ{DIGEST_BYTES}s{TRANSACTION_ID_BYTES}scQIIII")
#: The least that the row of a transaction holds.
TRANSACTION_BYTES = _TRANSACTION.size


@dataclass(frozen=True, slots=True)
class TransactionRow:
    point: Point
    head: TransactionHead
    size: int  # bytes of all its records
    oids: tuple[Oid, ...]


def encode_transaction_row(point: Point, t: Transaction) -> bytes:
    head = TransactionHead(t.tid, t.id, t.user, t.description, t.extension, len(t.writes), t.status)
    return encode_row(point, head, sum(sizes_of(t.writes)), oids_of(t.writes))


def encode_row(point: Point, t: TransactionHead, size: int, oids: Collection[Oid]) -> bytes:
    head = _TRANSACTION.pack(
        point.epoch,
        point.lsn,
        point.digest,
        t.id,
        t.status,
        size,
        len(t.user),
        len(t.description),
        len(t.extension),
        len(oids),
    )
    return seal(t.tid, head, t.user, t.description, t.extension, b"".join(oids))


def decode_transaction_row(key: bytes, value: Buffer, with_oids: bool = True) -> TransactionRow:
    """What is stored of a transaction beside its records; without oids where only the head is of interest."""
    payload = unseal("transactions", key, value)
    epoch, lsn, digest, id_, status, size, user, description, extension, count = _TRANSACTION.unpack_from(payload)
    texts, at = [], _TRANSACTION.size
    for length in (user, description, extension):
        texts.append(bytes(payload[at : at + length]))
        at += length
    oids: tuple[Oid, ...] = ()
    if with_oids:
        oids = tuple([Oid(bytes(payload[i : i + 8])) for i in range(at, at + 8 * count, 8)])
    head = TransactionHead(Tid(key), TransactionId(id_), texts[0], texts[1], texts[2], count, status)
    return TransactionRow(Point(epoch, lsn, digest), head, size, oids)


_POINT = struct.Struct(f">QQ{DIGEST_BYTES}s")


def encode_point(point: Point) -> bytes:
    return _POINT.pack(point.epoch, point.lsn, point.digest)


def decode_point(data: Buffer) -> Point:
    return Point(*_POINT.unpack_from(data))


POINT_BYTES = _POINT.size
