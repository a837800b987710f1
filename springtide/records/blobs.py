"""Which files an entry names: what a node must hold before the entry is in its log.

Pure. A file is found by the id of its blob until its entry is applied, and by object and revision from then on.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from springtide.records.digests import Body
from springtide.records.entries import (
    HAS_BLOB,
    REPEATS,
    WRITE,
    Blob,
    Entry,
    Kind,
    Malformed,
    count_blobs,
    decode_extras,
    decode_head,
)
from springtide.records.ids import Oid, Tid


@dataclass(frozen=True, slots=True)
class Named:
    """A file, and the revision it belongs to."""

    blob: Blob
    oid: Oid
    #: None: the transaction has no tid yet.
    tid: Tid | None = None
    #: The revision of the same object that the record repeats: its file may have the same content.
    data_tid: Tid | None = None


def names_in(entry: Entry) -> tuple[Named, ...]:
    """The files that ``entry`` names. Quick where there are none; records are passed over.

    Raises Malformed for a body that is none.
    """
    if entry.kind is not Kind.TRANSACTION or not count_blobs(entry.body):
        return ()
    return tuple(_names(entry.body))


def _names(body: Body) -> Iterator[Named]:
    head, at = decode_head(body)
    try:
        for _ in range(head.count):
            oid, flags, data_tid, _crc, length = WRITE.unpack_from(body, at)
            _, blob, at = decode_extras(flags, body, at + WRITE.size)
            at += length
            if flags & HAS_BLOB and blob is not None:
                yield Named(blob, Oid(oid), head.tid, Tid(data_tid) if flags & REPEATS else None)
    except struct.error as error:
        raise Malformed("transaction entry ends within its writes") from error
