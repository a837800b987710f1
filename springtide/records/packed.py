"""The writes of a large transaction, left where its body is and taken apart when they are looked at.

Pure. What stays in memory is 20 bytes an object: where its write is, and, sorted, which object it is of.
"""

from __future__ import annotations

import itertools
import struct
import zlib
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import cast, overload

from springtide.records.digests import Body
from springtide.records.entries import (
    DELETED,
    HAS_BLOB,
    REPEATS,
    WRITE,
    Malformed,
    Transaction,
    Write,
    check_blobs,
    decode_extras,
    decode_head,
)
from springtide.records.ids import Oid, Tid, number, oid

#: Where the flags are in a write.
FLAGS_AT = 8


def decode(body: Body) -> Transaction:
    """The transaction in ``body``, every byte of it verified; ``Malformed`` where it is none.

    The writes are read from ``body`` whenever they are looked at: it must not change.
    """
    t, at = decode_head(body)
    offsets = scan(body, at, t.count)
    check_blobs(body, sum(1 for at in offsets[:-1] if body[at + FLAGS_AT] & HAS_BLOB))
    writes = PackedWrites(body, offsets)
    return Transaction(t.tid, t.id, t.user, t.description, t.extension, writes, t.status)


def scan(body: Body, at: int, count: int) -> array[int]:
    """Where the ``count`` writes begin that are in ``body`` from ``at`` on, verified, and where the last one ends."""
    offsets = array("Q", (at,))
    for _ in range(count):
        at = _verified(body, at)
        offsets.append(at)
    if at != len(body):
        raise Malformed(f"{len(body) - at} bytes follow the last write")
    return offsets


def _verified(body: Body, at: int) -> int:
    """Where the write at ``at`` ends."""
    try:
        name, flags, _, crc, length = WRITE.unpack_from(body, at)
    except struct.error as error:
        raise Malformed("transaction entry ends within its writes") from error
    *_, at = decode_extras(flags, body, at + WRITE.size)
    data = body[at : at + length]
    if len(data) != length or zlib.crc32(data) != crc:
        raise Malformed(f"record of oid {name.hex()} is damaged")
    return at + int(length)


class PackedWrites(Sequence[Write]):
    """Invariant: the write ``i`` is from ``offsets[i]`` to ``offsets[i + 1]``; all of them were verified."""

    def __init__(self, body: Body, offsets: array[int]) -> None:
        self._body = body
        self._offsets = offsets

    def __len__(self) -> int:
        return len(self._offsets) - 1

    @overload
    def __getitem__(self, at: int) -> Write: ...
    @overload
    def __getitem__(self, at: slice) -> Sequence[Write]: ...
    def __getitem__(self, at: int | slice) -> Write | Sequence[Write]:
        if isinstance(at, slice):
            start, stop, step = at.indices(len(self))
            if step != 1:
                return [self[i] for i in range(start, stop, step)]
            return PackedWrites(self._body, self._offsets[start : max(start, stop) + 1])
        if not -len(self) <= at < len(self):
            raise IndexError(at)
        return self._write(self._offsets[at % len(self)])

    def __iter__(self) -> Iterator[Write]:
        return map(self._write, itertools.islice(self._offsets, len(self)))

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(Write.__eq__, self, other))

    __hash__ = None  # type: ignore[assignment]

    def _write(self, at: int) -> Write:
        write = self._view(at)
        return write if write.data is None else replace(write, data=bytes(write.data))

    def _view(self, at: int) -> Write:
        """The write with a view of its record in the body, in place of a copy."""
        body = self._body
        name, flags, data_tid, _, length = WRITE.unpack_from(body, at)
        references, blob, at = decode_extras(flags, body, at + WRITE.size)
        data = None if flags & DELETED else cast(bytes, body[at : at + length])
        return Write(Oid(name), data, Tid(data_tid) if flags & REPEATS else None, references, blob)

    def views(self) -> Iterator[Write]:
        """Writes whose records are views: for whoever encodes them at once."""
        return map(self._view, itertools.islice(self._offsets, len(self)))

    def oids(self) -> list[Oid]:
        """Of all writes, without their records."""
        body = self._body
        return [Oid(bytes(body[at : at + 8])) for at in itertools.islice(self._offsets, len(self))]

    def sizes(self) -> Iterator[int]:
        """How many bytes the record of each has."""
        for at in itertools.islice(self._offsets, len(self)):
            _, flags, _, _, length = WRITE.unpack_from(self._body, at)
            yield 0 if flags & DELETED else length


class Index(Mapping[Oid, Write]):
    """Finds the last write of an object."""

    def __init__(self, writes: PackedWrites) -> None:
        self._writes = writes
        numbers = array("Q", map(number, writes.oids()))
        self._places = array("I", sorted(range(len(numbers)), key=numbers.__getitem__))
        self._numbers = array("Q", map(numbers.__getitem__, self._places))

    def _place(self, name: Oid) -> int | None:
        wanted = number(name)
        at = bisect_right(self._numbers, wanted) - 1
        return self._places[at] if at >= 0 and self._numbers[at] == wanted else None

    def __contains__(self, name: object) -> bool:
        return isinstance(name, bytes) and self._place(Oid(name)) is not None

    def __getitem__(self, name: Oid) -> Write:
        place = self._place(name)
        if place is None:
            raise KeyError(name)
        return self._writes[place]

    def __iter__(self) -> Iterator[Oid]:
        return map(oid, dict.fromkeys(self._numbers))

    def __len__(self) -> int:
        return sum(1 for _ in self)


def oids_of(writes: Iterable[Write]) -> list[Oid]:
    """The objects written, in order, each as often as it was."""
    return writes.oids() if isinstance(writes, PackedWrites) else [write.oid for write in writes]


def views_of(writes: Iterable[Write]) -> Iterable[Write]:
    """The writes; records that are not in memory are not copied there, but are views."""
    return writes.views() if isinstance(writes, PackedWrites) else writes


def sizes_of(writes: Iterable[Write]) -> Iterable[int]:
    """How many bytes the record of each write has."""
    return writes.sizes() if isinstance(writes, PackedWrites) else (len(write.data or b"") for write in writes)
