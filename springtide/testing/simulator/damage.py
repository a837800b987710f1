"""What a crash in the middle of a write, or a flipped bit, leaves of a log: found as ``engine.segments`` finds it."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from springtide import errors
from springtide.engine import layout
from springtide.records.entries import Entry
from springtide.records.position import Point

_SECTOR = 512


def survivors(base: Point, durable: Sequence[Entry], unsynced: Sequence[Entry], rnd: Random) -> int:
    """How many unsynced entries a start finds whole, when any of their sectors may be missing.

    ``durable`` follow ``base``, were synced before, and are found in any case: ``Damaged`` is raised if not.
    """
    header = layout.encode_segment_header(base)
    _, seed, begin = layout.decode_segment_header(header, "the log")
    synced = b"".join([header, *(_frame(entry, seed, base.lsn) for entry in durable)])
    known = durable[-1].lsn if durable else base.lsn
    written = synced + b"".join(_frame(entry, seed, known) for entry in unsynced)
    found = len(written) if rnd.random() < 0.5 else rnd.randint(len(synced), len(written))
    data = bytearray(written[:found])
    for at in range(len(synced) // _SECTOR * _SECTOR, found, _SECTOR):
        begins, ends = max(len(synced), at), min(found, at + _SECTOR)
        if rnd.random() < 0.3:
            data[begins:ends] = bytes(ends - begins)
    return _scan(bytes(data), begin, seed, base.lsn) - known


def _scan(data: bytes, at: int, seed: int, lsn: int) -> int:
    """The lsn of the last entry that is whole."""
    view = memoryview(data)
    while at < len(data):
        frame = layout.decode_frame(view, at, seed)
        if frame is None:
            if layout.is_torn(data, at, seed, lsn + 1):
                return lsn
            raise errors.Damaged(f"the log is damaged at offset {at}, in the entry with lsn {lsn + 1}")
        lsn, at = frame.lsn, frame.end
    return lsn


def is_noticed(entry: Entry, rnd: Random) -> bool:
    """Whether reading shows that a bit of ``entry`` has changed on the disk."""
    data = bytearray(_frame(entry, 0, 0))
    data[rnd.randrange(len(data))] ^= 1 << rnd.randrange(8)
    frame = layout.decode_frame(memoryview(bytes(data)), 0, 0)
    return frame is None or frame.entry(bytes(data)) != entry


def _frame(entry: Entry, seed: int, synced: int) -> bytes:
    return layout.encode_frame(entry, seed, synced) + bytes(entry.body)
