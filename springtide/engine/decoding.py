"""What an entry says, taken apart once: before it is written, so that nothing malformed ever is.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from springtide.engine.layout import BODY_BYTES_MAX
from springtide.engine.limits import check_grows, check_oids, check_tid
from springtide.engine.values import Decoded
from springtide.records import packed
from springtide.records.entries import (
    Entry,
    Kind,
    Malformed,
    Write,
    decode_epoch_start,
    decode_head,
    decode_oid_range,
    decode_transaction,
)
from springtide.records.forget import decode_forget
from springtide.records.ids import Oid, Tid, number
from springtide.records.packs import decode_pack

#: From this many writes on, a transaction brings its own index. One that is not in memory always does.
LARGE_WRITES = 1_000


def decode(entry: Entry) -> Decoded:
    """Raises ``Malformed`` if the body of ``entry`` does not follow its format, or could never be applied."""
    if len(entry.body) > BODY_BYTES_MAX:
        raise Malformed(f"the entry with lsn {entry.lsn} has {len(entry.body)} bytes, the log holds {BODY_BYTES_MAX}")
    match entry.kind:
        case Kind.TRANSACTION:
            return _decode_transaction(entry)
        case Kind.OIDS:
            oids = decode_oid_range(entry.body)
            if oids.count == 0:
                raise Malformed(f"{_name(entry)} hands out no oids")
            check_oids(oids.first + oids.count, _name(entry))
            return Decoded(entry, None, oids, oids.first + oids.count - 1, None)
        case Kind.EPOCH:
            decode_epoch_start(entry.body)
            return Decoded(entry, None, None, 0, None)
        case Kind.PACK:
            return Decoded(entry, None, None, 0, None, decode_pack(bytes(entry.body)))
        case Kind.FORGET:
            return Decoded(entry, None, None, 0, None, None, decode_forget(bytes(entry.body)))


def _decode_transaction(entry: Entry) -> Decoded:
    index: Mapping[Oid, Write] | None = None
    if entry.ahead is not None and entry.ahead.transaction is not None:
        # All but the tid was looked at before.
        index = entry.ahead.index
        transaction = replace(entry.ahead.transaction, tid=decode_head(entry.body)[0].tid)
        highest = max(packed.oids_of(transaction.writes), default=bytes(8))
    elif isinstance(entry.body, bytes):
        transaction = decode_transaction(entry.body)
        highest = max([write.oid for write in transaction.writes], default=bytes(8))
        if len(transaction.writes) >= LARGE_WRITES:
            index = {write.oid: write for write in transaction.writes}
    else:
        transaction = packed.decode(entry.body)
        assert isinstance(transaction.writes, packed.PackedWrites), "they stay in the body"
        highest = max(transaction.writes.oids(), default=bytes(8))
        index = packed.Index(transaction.writes)
    check_tid(transaction.tid, _name(entry))
    check_oids(number(highest) + 1, _name(entry))
    return Decoded(entry, transaction, None, number(highest), index)


def decode_following(entries: Iterable[Entry], newest: Tid) -> tuple[list[Decoded], Tid]:
    """Entries that follow one another, and the tid of the newest transaction; before them that was ``newest``.

    Raises ``Malformed`` where a tid does not grow, too: whoever reads in the order of tids
    reads in the order of the log.
    """
    decoded = []
    for entry in entries:
        one = decode(entry)
        if one.transaction is not None:
            check_grows(one.transaction.tid, newest, _name(entry))
            newest = one.transaction.tid
        decoded.append(one)
    return decoded, newest


def _name(entry: Entry) -> str:
    return f"the entry with lsn {entry.lsn}"
