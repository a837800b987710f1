"""What an entry says, taken apart once: before it is written, so that nothing malformed ever is.

Pure.
"""

from __future__ import annotations

from springtide.engine.layout import BODY_BYTES_MAX
from springtide.engine.values import Decoded
from springtide.records.entries import (
    Entry,
    Kind,
    Malformed,
    decode_epoch_start,
    decode_oid_range,
    decode_transaction,
)
from springtide.records.ids import number

#: From this many writes on, a transaction brings its own index.
LARGE_WRITES = 1_000


def decode(entry: Entry) -> Decoded:
    """Raises ``Malformed`` if the body of ``entry`` does not follow its format."""
    if len(entry.body) > BODY_BYTES_MAX:
        raise Malformed(f"the entry with lsn {entry.lsn} has {len(entry.body)} bytes, the log holds {BODY_BYTES_MAX}")
    match entry.kind:
        case Kind.TRANSACTION:
            return _decode_transaction(entry)
        case Kind.OIDS:
            oids = decode_oid_range(entry.body)
            return Decoded(entry, None, oids, oids.first + oids.count - 1, None)
        case Kind.EPOCH:
            decode_epoch_start(entry.body)
            return Decoded(entry, None, None, 0, None)


def _decode_transaction(entry: Entry) -> Decoded:
    transaction = decode_transaction(entry.body)
    writes = transaction.writes
    highest = max((write.oid for write in writes), default=bytes(8))
    index = {write.oid: write for write in writes} if len(writes) >= LARGE_WRITES else None
    return Decoded(entry, transaction, None, number(highest), index)
