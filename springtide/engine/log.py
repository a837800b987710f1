"""The log on disk: segment files that are appended to, cut at the end, and forgotten at the start.

Everything here blocks. One thread writes (``appender``); any thread may read what
is synced. A failed write or sync is never retried: after it the log refuses to write.
"""

from __future__ import annotations

import errno
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from pathlib import Path

from springtide import errors
from springtide.engine import layout, segments
from springtide.engine.aside import set_aside
from springtide.engine.files import Files
from springtide.engine.segments import Segment
from springtide.engine.values import Trimmed
from springtide.records.entries import Entry
from springtide.records.position import ORIGIN, Point


class Log:
    """Invariant: the segments follow each other without a gap; only the last one grows.

    ``segments`` is replaced, never changed, so a reader sees one or the other.
    """

    def __init__(self, directory: Path, files: Files, segment_bytes: int, found: tuple[Segment, ...]) -> None:
        self._directory = directory
        self._files = files
        self._segment_bytes = segment_bytes
        self._segments = found
        self._fd = -1
        self._failure: errors.DiskFailed | None = None

    @classmethod
    def open(cls, directory: Path, files: Files, segment_bytes: int) -> Log:
        """Verify what is there and cut a torn tail; an empty or missing directory begins at the origin."""
        try:
            files.make_directory(directory)
            segments.sweep(directory)
            found = tuple(segments.scan_all(directory, files))
            if found:
                _settle(found[-1], files)
            else:
                found = (Segment.create(files, directory, ORIGIN),)
            log = cls(directory, files, segment_bytes, found)
            log._open_last()
        except OSError as error:
            raise errors.DiskFailed(f"the log in {directory} could not be opened: {error}") from error
        return log

    @property
    def oldest(self) -> Point:
        return self._segments[0].base

    @property
    def last(self) -> Point:
        return self._segments[-1].last

    @property
    def size_bytes(self) -> int:
        return sum(segment.end for segment in self._segments)

    # -- reading (any thread) --------------------------------------------------------------------

    def point(self, lsn: int) -> Point | None:
        """The point at ``lsn``; None where the log no longer, or not yet, reaches."""
        if lsn == self.last.lsn:
            return self.last
        if not self.oldest.lsn <= lsn < self.last.lsn:
            return None
        try:
            return self._segment(lsn).point(self._files, lsn)
        except FileNotFoundError:
            return None  # trimmed meanwhile

    def read(self, after: int, bytes_max: int) -> tuple[Entry, ...]:
        """Synced entries that follow ``after``: at least one where any exists, of one segment."""
        if after >= self.last.lsn:
            return ()
        if after < self.oldest.lsn:
            raise Trimmed(after, self.oldest)
        try:
            return tuple(self._segment(after + 1).read(self._files, after + 1, bytes_max))
        except FileNotFoundError as error:
            raise Trimmed(after, self.oldest) from error

    def entries(self, after: int, through: int) -> Iterator[Entry]:
        while after < through:
            for entry in self.read(after, segments.JOINED_BYTES_MAX):
                if entry.lsn > through:
                    return
                after = entry.lsn
                yield entry

    def _segment(self, lsn: int) -> Segment:
        found = self._segments
        at = bisect_right(found, lsn - 1, key=lambda segment: segment.base.lsn)
        return found[max(0, at - 1)]

    # -- writing (the log thread) ----------------------------------------------------------------

    def write(self, entries: Sequence[Entry]) -> None:
        """Append ``entries`` with one sync; they must follow ``last``."""
        with _Guard(self, f"appending lsn {entries[0].lsn} to the log"):
            self._roll()
            segment = self._segments[-1]
            synced, at = segment.last.lsn, segment.end
            ends: list[int] = []
            for part in segments.frames(entries, segment.seed, synced):
                self._files.write(self._fd, part)
            self._files.fdatasync(self._fd)
            for entry in entries:
                at += layout.FRAME_BYTES + len(entry.body)
                ends.append(at)
        for entry, end in zip(entries, ends, strict=True):
            segment.grew(entry.point, end)

    def cut(self, keep: Point, aside: Path) -> Path | None:
        """Copy what follows ``keep`` into a directory under ``aside``, then forget it here. Both durably."""
        last = self.last
        if keep == last:
            return None
        assert self.point(keep.lsn) == keep, "what is kept is in this log"
        path = self.set_aside(keep, aside)
        with _Guard(self, f"cutting the log to {keep}"):
            self._close_last()
            self._remove([s for s in reversed(self._segments) if s.base.lsn >= keep.lsn and s is not self._segments[0]])
            segment = self._segments[-1]
            if segment.last != keep:
                segment.shrank(keep)
            self._open_last()
            self._files.truncate(self._fd, segment.end)
            self._files.seek_end(self._fd)
        return path

    def set_aside(self, keep: Point, aside: Path) -> Path:
        """Copy what follows ``keep`` into a directory under ``aside``, as a log of its own."""
        with _Guard(self, f"setting aside the log after {keep}"):
            return set_aside(self._files, keep, self.entries(keep.lsn, self.last.lsn), self.last, aside)

    def reset(self, base: Point) -> None:
        """Forget everything and begin anew after ``base``."""
        with _Guard(self, f"beginning the log anew at {base}"):
            self._close_last()
            self._remove(list(reversed(self._segments)))
            self._segments = (Segment.create(self._files, self._directory, base),)
            self._open_last()

    def can_trim(self, retention_bytes: int, applied: int) -> bool:
        found = self._segments
        return len(found) > 1 and found[0].last.lsn <= applied and self.size_bytes > retention_bytes

    def trim(self, retention_bytes: int, applied: int) -> None:
        """Forget the oldest segments while more than ``retention_bytes`` are kept and all in them is applied."""
        kept = list(self._segments)
        total, removed = self.size_bytes, []
        while len(kept) > 1 and total > retention_bytes and kept[0].last.lsn <= applied:
            total -= kept[0].end
            removed.append(kept.pop(0))
        if removed:
            with _Guard(self, "trimming the log"):
                self._remove(removed)

    def close(self) -> None:
        self._close_last()

    def _roll(self) -> None:
        if self._segments[-1].end >= self._segment_bytes:
            self._close_last()
            self._segments += (Segment.create(self._files, self._directory, self.last),)
            self._open_last()

    def _remove(self, removed: list[Segment]) -> None:
        """In this order, so that what remains after a crash has no gap."""
        self._segments = tuple(segment for segment in self._segments if segment not in removed)
        for segment in removed:
            self._files.unlink(segment.path)
            self._files.sync_directory(self._directory)

    def _open_last(self) -> None:
        self._fd = self._files.open(self._segments[-1].path)
        self._files.seek_end(self._fd)

    def _close_last(self) -> None:
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1


class _Guard:
    """Turns the first error of the disk into ``DiskFailed``, and every later attempt to write too."""

    def __init__(self, log: Log, doing: str) -> None:
        self._log = log
        self._doing = doing

    def __enter__(self) -> None:
        if self._log._failure is not None:
            raise errors.DiskFailed(f"{self._doing} is refused after an earlier failure: {self._log._failure}")

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, OSError):
            self._log._failure = errors.DiskFailed(f"{self._doing} failed in {self._log._directory}: {error}")
            raise self._log._failure from error


def _settle(segment: Segment, files: Files) -> None:
    """Make durable what was found in the last segment, and cut what is unfinished.

    What was found may be in the kernel's memory only: the node may have died before its sync, or
    after a sync that failed, and syncing again then writes nothing. So it is written anew.
    """
    try:
        files.replace(segment.path, files.read(segment.path, 0, segment.end))
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        fd = files.open(segment.path)
        try:
            files.truncate(fd, segment.end)
        finally:
            files.close(fd)
