"""One file of the log: scanned when opened, appended to, read at any lsn.

A segment knows the offset of each of its entries (8 bytes an entry), so finding
one is one read.
"""

from __future__ import annotations

import errno
import os
from array import array
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from mmap import mmap
from pathlib import Path

from springtide import errors
from springtide.ahead import Ahead, AheadFile
from springtide.engine import layout
from springtide.engine.files import Files
from springtide.records.entries import Entry
from springtide.records.position import Point
from springtide.spool import SPOOLED_FROM

SUFFIX = ".log"

#: Frames are joined into one write up to this size; a larger body is written by itself, uncopied.
JOINED_BYTES_MAX = 4 * 1024 * 1024
#: Larger segments are not read into memory as a whole. Others are, as reading into memory ends in an error
#: where the disk fails.
LARGE_BYTES = 128 * 1024 * 1024


def segment_path(directory: Path, base: Point) -> Path:
    return directory / f"{base.lsn + 1:020d}{SUFFIX}"


class Segment:
    """Invariant: entry ``base.lsn + 1 + i`` is at ``offsets[i]``; nothing follows ``end``."""

    def __init__(self, path: Path, base: Point, seed: int, begin: int) -> None:
        self.path = path
        self.base = base
        self.seed = seed
        self.offsets = array("Q")
        self.end = begin
        self.last = base
        #: It is the file of a large body that came ahead, and mapped: it neither grows nor shrinks.
        self.is_fixed = False

    @classmethod
    def create(cls, files: Files, directory: Path, base: Point) -> Segment:
        """An empty segment that follows ``base``. Its head is never seen half written."""
        path = segment_path(directory, base)
        header = layout.encode_segment_header(base)
        files.replace(path, header)
        return cls(path, *layout.decode_segment_header(header, str(path)))

    @classmethod
    def adopt(cls, files: Files, directory: Path, base: Point, entry: Entry) -> Segment:
        """The file of a body that came ahead, as the segment that follows ``base`` and holds this entry alone."""
        ahead = entry.ahead
        assert isinstance(ahead, Ahead) and isinstance(ahead.file, AheadFile), "it has a file that may stay"
        path, begin = segment_path(directory, base), ahead.at - layout.FRAME_BYTES
        header = layout.encode_segment_header(base, begin)
        segment = cls(path, *layout.decode_segment_header(header, str(path)))
        files.write_at(ahead.file.fd, header, 0)
        files.write_at(ahead.file.fd, layout.encode_frame(entry, segment.seed, base.lsn), begin)
        files.fdatasync(ahead.file.fd)
        files.rename(ahead.file.path, path)
        ahead.file.kept()
        files.sync_directory(directory)
        segment.grew(entry.point, ahead.at + len(entry.body))
        segment.is_fixed = True
        return segment

    @classmethod
    def scan(cls, files: Files, path: Path, is_last: bool) -> Segment:
        """Read and verify the whole file; the last one of a log may end in an unfinished write, beyond ``end``.

        Raises ``Damaged`` with file and offset where bytes are not what was written.
        """
        data, view = _whole(files, path)
        segment = cls(path, *layout.decode_segment_header(view, str(path)))
        at, size = segment.end, len(data)
        while at < size:
            frame = layout.decode_frame(view, at, segment.seed)
            lsn = segment.last.lsn + 1
            if frame is None:
                if is_last and layout.is_torn(data, at, segment.seed, lsn):
                    return segment
                raise errors.Damaged(f"{path} is damaged at offset {at}, in the entry with lsn {lsn}")
            if frame.lsn != lsn or frame.epoch < segment.last.epoch:
                raise errors.Damaged(f"{path} has entry {frame.epoch}/{frame.lsn} at offset {at}, expected lsn {lsn}")
            segment.grew(frame.point, frame.end)
            at = frame.end
        return segment

    def grew(self, last: Point, end: int) -> None:
        """An entry was written from the old end to ``end``."""
        self.offsets.append(self.end)
        self.end = end
        self.last = last

    def shrank(self, last: Point) -> None:
        kept = last.lsn - self.base.lsn
        self.end = self.offsets[kept] if kept < len(self.offsets) else self.end
        del self.offsets[kept:]
        self.last = last

    def holds(self, lsn: int) -> bool:
        return self.base.lsn < lsn <= self.last.lsn

    def point(self, files: Files, lsn: int) -> Point:
        if lsn == self.base.lsn:
            return self.base
        at = self.offsets[lsn - self.base.lsn - 1]
        frame = layout.unverified_point(self._read(files, at, layout.FRAME_BYTES))
        if frame.lsn != lsn:
            raise errors.Damaged(f"{self.path} is damaged at offset {at}: lsn {lsn} is no longer there")
        return frame

    def read(self, files: Files, first: int, bytes_max: int) -> list[Entry]:
        """Entries from lsn ``first`` on, at least one, verified."""
        # A log thread may append meanwhile: entries up to ``last``, as it is now, are whole.
        known = self.last.lsn - self.base.lsn
        index = first - self.base.lsn - 1
        start = self.offsets[index]
        after = bisect_right(self.offsets, start + bytes_max, index + 1, known)
        if after == known and self._end_of(known) <= start + bytes_max:
            after += 1
        count = max(1, after - 1 - index)
        stop = self._end_of(index + count)
        data = self._read(files, start, stop - start)
        return list(self._entries(data, start, first, count))

    def _end_of(self, count: int) -> int:
        """Where the first ``count`` entries end, or later."""
        return self.offsets[count] if count < len(self.offsets) else self.end

    def _entries(self, data: layout.Buffer, start: int, first: int, count: int) -> Iterator[Entry]:
        view, at = memoryview(data), 0
        for lsn in range(first, first + count):
            frame = layout.decode_frame(view, at, self.seed)
            if frame is None or frame.lsn != lsn:
                raise errors.Damaged(f"{self.path} is damaged at offset {start + at}, in the entry with lsn {lsn}")
            yield frame.entry(data)
            at = frame.end

    def _read(self, files: Files, at: int, size: int) -> layout.Buffer:
        """A large entry, which is read by itself, is not read into memory."""
        try:
            return files.copy(self.path, at, size) if size > SPOOLED_FROM else files.read(self.path, at, size)
        except FileNotFoundError:
            raise
        except OSError as error:
            raise errors.DiskFailed(f"{self.path} could not be read: {error}") from error


def _whole(files: Files, path: Path) -> tuple[bytes | mmap, memoryview]:
    """A segment's bytes, to search and to decode; one that has grown by a large entry is not read into memory."""
    if (size := path.stat().st_size) <= LARGE_BYTES:
        data = files.read(path)
        return data, memoryview(data)
    view = files.copy(path, 0, size)
    assert isinstance(view.obj, mmap), "what was copied is mapped"
    return view.obj, view


def is_ahead(entry: Entry) -> bool:
    """Whether its body is in a file that can be adopted."""
    return isinstance(entry.ahead, Ahead) and isinstance(entry.ahead.file, AheadFile)


def found_segments(directory: Path) -> list[Path]:
    return sorted(path for path in directory.iterdir() if path.suffix == SUFFIX and path.stem.isdigit())


def sweep(directory: Path) -> None:
    """Remove what an interrupted creation left."""
    for path in directory.glob("*.new"):
        os.unlink(path)


def scan_all(directory: Path, files: Files) -> Iterator[Segment]:
    """The segments of a log, in order, verified, without a gap between them."""
    paths = found_segments(directory)
    previous: Segment | None = None
    for path in paths:
        segment = Segment.scan(files, path, is_last=path is paths[-1])
        if previous is not None and segment.base != previous.last:
            raise errors.Damaged(f"{path} continues from {segment.base}, the segment before it ends at {previous.last}")
        previous = segment
        yield segment


def settle(segment: Segment, files: Files) -> None:
    """Make durable what was found in the last segment, and cut what is unfinished.

    What was found may be in the kernel's memory only: the node may have died before its sync, or
    after a sync that failed, and syncing again then writes nothing. So it is written anew.
    """
    try:
        files.write_anew(segment.path, segment.end)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        fd = files.open(segment.path)
        try:
            files.truncate(fd, segment.end)
        finally:
            files.close(fd)


def frames(entries: Sequence[Entry], seed: int, synced: int) -> Iterator[layout.Buffer]:
    """The bytes to write, joined into few parts."""
    parts: list[layout.Buffer] = []
    size = 0
    for entry in entries:
        head = layout.encode_frame(entry, seed, synced)
        if size + len(entry.body) > JOINED_BYTES_MAX:
            yield b"".join((*parts, head))
            parts, size = [], 0
            if len(entry.body) > JOINED_BYTES_MAX:
                yield entry.body
                continue
            parts.append(entry.body)
        else:
            parts += (head, entry.body)
        size += len(head) + len(entry.body)
    if parts:
        yield b"".join(parts)
