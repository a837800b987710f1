"""Entries: the units of the replicated log, and the bytes they are digested as.

Pure. The body of an entry is encoded once, by the primary that makes it; every
node stores, sends and digests these same bytes. How an entry is framed on a disk
(``engine.layout``) or on the wire (``wire.convert``) may change without them.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum

from springtide.records.ahead import Ahead
from springtide.records.digests import Body, chain
from springtide.records.ids import TRANSACTION_ID_BYTES, Oid, Tid, TransactionId
from springtide.records.position import Point


class Kind(IntEnum):
    TRANSACTION = 1
    OIDS = 2  # a range of oids is handed out
    EPOCH = 3  # a primary begins its reign
    PACK = 4  # a pack begins, takes a step, ends: see ``records.packs``
    FORGET = 5  # ids of old transactions are remembered no more: see ``records.forget``


class Malformed(ValueError):
    """The bytes of an entry's body do not follow its format."""


@dataclass(frozen=True, slots=True)
class Entry:
    epoch: int
    lsn: int
    kind: Kind
    digest: bytes
    body: Body
    #: ``rest_digest`` of the body, where whoever made the entry knew it from the bytes themselves.
    rest: bytes | None = field(default=None, compare=False, repr=False)
    #: Where the body is already.
    ahead: Ahead | None = field(default=None, compare=False, repr=False)

    @property
    def point(self) -> Point:
        return Point(self.epoch, self.lsn, self.digest)

    @property
    def memory_bytes(self) -> int:
        """What its body takes of a process's memory: one that is mapped is in the system's file cache."""
        return len(self.body) if isinstance(self.body, bytes) else 0


def following(
    previous: Point, epoch: int, kind: Kind, body: Body, rest: bytes | None = None, ahead: Ahead | None = None
) -> Entry:
    """The entry that continues the history that ends at ``previous``."""
    assert epoch >= previous.epoch, "epochs never fall along the log"
    lsn = previous.lsn + 1
    return Entry(epoch, lsn, kind, chain(previous.digest, epoch, lsn, kind, body, rest), body, rest, ahead)


def continues(previous: Point, entry: Entry) -> bool:
    """Whether ``entry`` is what it claims to be: the next one after ``previous``, undamaged."""
    return (
        entry.lsn == previous.lsn + 1
        and entry.epoch >= previous.epoch
        and entry.digest == chain(previous.digest, entry.epoch, entry.lsn, entry.kind, entry.body, entry.rest)
    )


@dataclass(frozen=True, slots=True)
class Blob:
    """The file that belongs to a record. Nodes hold it before they acknowledge the entry that names it.

    ``id`` is new for every revision that has a file, also where undo makes one with the content of another.
    """

    id: bytes  # BLOB_ID_BYTES of chance, given by the client
    size: int
    digest: bytes  # BLOB_DIGEST_BYTES: blake2b of the content


BLOB_ID_BYTES = BLOB_DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True)
class Write:
    """What a transaction says about one object.

    ``data`` is the whole record, or None: the object does not exist from this
    transaction on. ``data_tid`` names the earlier transaction whose record this
    one repeats (undo), and is None for a record of its own. ``references`` are the
    oids that the record refers to, one after the other, where the client said them because
    only it can read the record; else None.
    """

    oid: Oid
    data: bytes | None
    data_tid: Tid | None = None
    references: bytes | None = None
    blob: Blob | None = None


@dataclass(frozen=True, slots=True)
class Transaction:
    tid: Tid
    id: TransactionId
    user: bytes
    description: bytes
    extension: bytes
    writes: Sequence[Write]
    status: bytes = b" "


@dataclass(frozen=True, slots=True)
class OidRange:
    """The oids ``first`` to ``first + count - 1`` belong to whoever asked for them."""

    first: int
    count: int


@dataclass(frozen=True, slots=True)
class EpochStart:
    node: str
    uptime: str


_HEAD = struct.Struct(f">8s{TRANSACTION_ID_BYTES}scIIIII")  # tid, id, status, lengths of 3 texts, writes, blobs
WRITE = struct.Struct(">8sB8sII")  # oid, flags, data tid, crc32, length
DELETED, REPEATS, _REFERS, HAS_BLOB = 1, 2, 4, 8
_COUNT = struct.Struct(">I")
_BLOB = struct.Struct(f">{BLOB_ID_BYTES}sQ{BLOB_DIGEST_BYTES}s")
#: Lengths are 32 bits: no record can be larger. Limits below this are the node's to set.
RECORD_BYTES_MAX = 2**32 - 1


def encode_transaction(t: Transaction) -> bytes:
    parts, blobs = [b""], 0
    for write in t.writes:  # as in ``encode_write``, which would cost a call for each
        data = write.data if write.data is not None else b""
        flags, more = encode_extras(write)
        parts.append(WRITE.pack(write.oid, flags, write.data_tid or bytes(8), zlib.crc32(data), len(data)))
        parts.append(more)
        parts.append(data)
        blobs += write.blob is not None
    parts[0] = encode_head(t, len(t.writes), blobs)
    return b"".join(parts)


def encode_head(t: Transaction, count: int, blobs: int) -> bytes:
    """What precedes ``count`` writes, so many of them with blobs. The tid comes first of all."""
    head = _HEAD.pack(t.tid, t.id, t.status, len(t.user), len(t.description), len(t.extension), count, blobs)
    return b"".join((head, t.user, t.description, t.extension))


def encode_write(write: Write) -> tuple[bytes, bytes, bytes]:
    """One write, in parts that follow each other; the record itself is not copied."""
    data = write.data if write.data is not None else b""
    flags, more = encode_extras(write)
    return WRITE.pack(write.oid, flags, write.data_tid or bytes(8), zlib.crc32(data), len(data)), more, data


def encode_extras(write: Write) -> tuple[int, bytes]:
    """The flags of a write, and what they say follows them: references, blob. Rows of the state have the same."""
    flags = (DELETED if write.data is None else 0) | (REPEATS if write.data_tid is not None else 0)
    more = b""
    if write.references is not None:
        flags |= _REFERS
        more = _COUNT.pack(len(write.references) // 8) + write.references
    if write.blob is not None:
        flags |= HAS_BLOB
        more += _BLOB.pack(write.blob.id, write.blob.size, write.blob.digest)
    return flags, more


def decode_extras(flags: int, data: Body, at: int) -> tuple[bytes | None, Blob | None, int]:
    """References and blob of a write, and where they end. Raises Malformed where they are cut off."""
    references: bytes | None = None
    blob: Blob | None = None
    try:
        if flags & _REFERS:
            (count,) = _COUNT.unpack_from(data, at)
            at += _COUNT.size
            references = bytes(data[at : at + 8 * count])
            if len(references) != 8 * count:
                raise Malformed("a write ends within its references")
            at += 8 * count
        if flags & HAS_BLOB:
            blob = Blob(*_BLOB.unpack_from(data, at))
            at += _BLOB.size
    except struct.error as error:
        raise Malformed("a write ends within what its flags announce") from error
    return references, blob, at


def decode_transaction(body: Body) -> Transaction:
    """The transaction in ``body``; ``Malformed`` if it is not one, or a record in it is damaged.

    All of it is in memory then; ``records.packed`` has what leaves it where it is.
    """
    body = bytes(body)
    t, end = decode_head(body)
    writes = tuple(_writes(body, end, t.count))
    check_blobs(body, sum(1 for write in writes if write.blob is not None))
    return Transaction(t.tid, t.id, t.user, t.description, t.extension, writes, t.status)


def check_blobs(body: Body, found: int) -> None:
    if found != count_blobs(body):
        raise Malformed(f"transaction entry names {found} blobs, and its head says {count_blobs(body)}")


def count_blobs(body: Body) -> int:
    """How many blobs the transaction in ``body`` names, without looking at its writes."""
    try:
        return int(_COUNT.unpack_from(body, _HEAD.size - _COUNT.size)[0])
    except struct.error as error:
        raise Malformed(f"transaction entry of {len(body)} bytes is too short") from error


@dataclass(frozen=True, slots=True)
class TransactionHead:
    """A transaction without its writes."""

    tid: Tid
    id: TransactionId
    user: bytes
    description: bytes
    extension: bytes
    count: int
    status: bytes


def decode_head(body: Body) -> tuple[TransactionHead, int]:
    """The head of the transaction in ``body``, and the offset at which its writes begin."""
    try:
        tid, id_, status, user, description, extension, count, _ = _HEAD.unpack_from(body)
    except struct.error as error:
        raise Malformed(f"transaction entry of {len(body)} bytes is too short") from error
    ends = list(itertools.accumulate((user, description, extension), initial=_HEAD.size))
    if ends[-1] > len(body):
        raise Malformed("transaction entry ends within its head")
    texts = [bytes(body[start:end]) for start, end in itertools.pairwise(ends)]
    head = TransactionHead(Tid(tid), TransactionId(id_), texts[0], texts[1], texts[2], count, status)
    return head, ends[-1]


def _writes(body: bytes, at: int, count: int) -> Iterator[Write]:
    for _ in range(count):
        try:
            oid, flags, data_tid, crc, length = WRITE.unpack_from(body, at)
        except struct.error as error:
            raise Malformed("transaction entry ends within its writes") from error
        references, blob, at = decode_extras(flags, body, at + WRITE.size)
        data = body[at : at + length]
        at += length
        if len(data) != length or zlib.crc32(data) != crc:
            raise Malformed(f"record of oid {oid.hex()} is damaged")
        repeated = Tid(data_tid) if flags & REPEATS else None
        yield Write(Oid(oid), None if flags & DELETED else data, repeated, references, blob)
    if at != len(body):
        raise Malformed(f"{len(body) - at} bytes follow the last write")


_RANGE = struct.Struct(">QI")


def encode_oid_range(r: OidRange) -> bytes:
    return _RANGE.pack(r.first, r.count)


def decode_oid_range(body: Body) -> OidRange:
    try:
        return OidRange(*_RANGE.unpack(body))
    except struct.error as error:
        raise Malformed(f"oid range entry of {len(body)} bytes") from error


def encode_epoch_start(e: EpochStart) -> bytes:
    node = e.node.encode()
    return struct.pack(">H", len(node)) + node + e.uptime.encode()


def decode_epoch_start(body: Body) -> EpochStart:
    body = bytes(body)
    try:
        (length,) = struct.unpack_from(">H", body)
        return EpochStart(body[2 : 2 + length].decode(), body[2 + length :].decode())
    except (struct.error, UnicodeDecodeError) as error:
        raise Malformed("epoch start entry is malformed") from error
