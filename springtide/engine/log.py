"""The log on disk: segment files that are appended to, cut at the end, and forgotten at the start.

Everything here blocks. One thread writes (``appender``); any thread may read what
is synced. A failed write or sync is never retried: after it the log refuses to write.
"""

from __future__ import annotations

import itertools
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from springtide import errors
from springtide.engine import layout, segments
from springtide.engine.aside import set_aside
from springtide.engine.files import Files
from springtide.engine.segments import Segment
from springtide.engine.values import Trimmed
from springtide.records.entries import Entry
from springtide.records.position import ORIGIN, Point


@dataclass(frozen=True, slots=True, eq=False)
class Pin:
    """Somebody will need what follows ``lsn``."""

    lsn: int


class Log:
    """Invariant: the segments follow each other without a gap; only the last one grows.

    ``segments`` is replaced, never changed, so a reader sees one or the other. A reader that
    meets nonsense looks whether the log was cut under it (``_cuts``, odd while that goes on)
    before it speaks of damage.
    """

    def __init__(self, directory: Path, files: Files, segment_bytes: int, found: tuple[Segment, ...]) -> None:
        self._directory = directory
        self._files = files
        self._segment_bytes = segment_bytes
        self._segments = found
        self._fd = -1
        self._failure: errors.DiskFailed | None = None
        self._cuts = 0
        self._lock = threading.Lock()  # of pins, and of the decision what is trimmed
        self._pins: tuple[Pin, ...] = ()

    @classmethod
    def open(cls, directory: Path, files: Files, segment_bytes: int) -> Log:
        """Verify what is there and cut a torn tail; an empty or missing directory begins at the origin."""
        try:
            files.make_directory(directory)
            segments.sweep(directory)
            found = tuple(segments.scan_all(directory, files))
            if found:
                segments.settle(found[-1], files)
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
            with self._reading(segment := self._segment(lsn)):
                return segment.point(self._files, lsn)
        except (errors.Stopping, Trimmed):
            return None  # it was there a moment ago

    def read(self, after: int, bytes_max: int) -> tuple[Entry, ...]:
        """Synced entries that follow ``after``: at least one where any exists, of one segment.

        Raises ``Trimmed`` where the log begins later, and ``Stopping`` where it is cut meanwhile.
        """
        if after >= self.last.lsn:
            return ()
        if after < self.oldest.lsn:
            raise Trimmed(after, self.oldest)
        before = self._cuts
        with self._reading(segment := self._segment(after + 1)):
            found = tuple(segment.read(self._files, after + 1, bytes_max))
        if self._cuts != before:
            raise errors.Stopping("the log was cut while it was read")
        return found

    @contextmanager
    def _reading(self, segment: Segment) -> Iterator[None]:
        """Says why ``segment`` cannot be read: it was cut meanwhile, trimmed meanwhile, or is damaged."""
        before = self._cuts
        try:
            yield
        except (errors.Damaged, FileNotFoundError, IndexError) as error:
            if before % 2 or self._cuts != before:
                raise errors.Stopping("the log was cut while it was read") from error
            if segment not in self._segments:
                raise Trimmed(segment.base.lsn, self.oldest) from error
            if isinstance(error, FileNotFoundError):
                raise errors.Damaged(f"{segment.path} is missing") from error
            raise

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
        """Append ``entries`` with one sync, but for bodies that came ahead; they must follow ``last``."""
        for ahead, some in itertools.groupby(entries, segments.is_ahead):
            if not ahead:
                self._write(list(some))
            else:
                for entry in some:
                    self._adopt(entry)

    def _adopt(self, entry: Entry) -> None:
        """What came ahead is in its file, all but the head: the file becomes a segment."""
        with _Guard(self, f"appending lsn {entry.lsn} to the log"):
            base = self.last
            self._close_last()
            segment = Segment.adopt(self._files, self._directory, base, entry)
            before = self._segments if self._segments[-1].base != base else self._segments[:-1]  # its place was taken
            self._segments = (*before, segment)

    def _write(self, entries: Sequence[Entry]) -> None:
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

    def cut(self, keep: Point, aside: Path, beside: Callable[[Path], None] = lambda path: None) -> Path | None:
        """Copy what follows ``keep`` into a directory under ``aside``, then forget it here. Both durably."""
        last = self.last
        if keep == last:
            return None
        if self.point(keep.lsn) != keep:
            raise errors.Broken("R8", f"the log would be cut to {keep}, which is not in it")
        path = self.set_aside(keep, aside, beside)
        with _Guard(self, f"cutting the log to {keep}"):
            self._cuts += 1
            self._close_last()
            self._remove([s for s in reversed(self._segments) if s.base.lsn >= keep.lsn and s is not self._segments[0]])
            segment = self._segments[-1]
            if segment.is_fixed and segment.last != keep:
                self._segments = (*self._segments[:-1], Segment.create(self._files, self._directory, keep))
                self._open_last()
            elif not segment.is_fixed:
                if segment.last != keep:
                    segment.shrank(keep)
                self._open_last()
                self._files.truncate(self._fd, segment.end)
                self._files.seek_end(self._fd)
            self._cuts += 1
        return path

    def set_aside(self, keep: Point, aside: Path, beside: Callable[[Path], None] = lambda path: None) -> Path:
        """Copy what follows ``keep`` into a directory under ``aside``, as a log of its own."""
        with _Guard(self, f"setting aside the log after {keep}"):
            return set_aside(self._files, keep, self.entries(keep.lsn, self.last.lsn), self.last, aside, beside)

    def reset(self, base: Point) -> None:
        """Forget everything and begin anew after ``base``."""
        with _Guard(self, f"beginning the log anew at {base}"):
            self._cuts += 1
            self._close_last()
            self._unlink(reversed(self._segments))
            self._segments = (Segment.create(self._files, self._directory, base),)
            self._open_last()
            self._cuts += 1

    def pin(self, lsn: int) -> Pin:
        """Keep what follows ``lsn`` until ``unpin``, as far as trimming allows. Raises ``Trimmed`` if it is gone."""
        with self._lock:
            if lsn < self.oldest.lsn:
                raise Trimmed(lsn, self.oldest)
            pin = Pin(lsn)
            self._pins = (*self._pins, pin)
            return pin

    def unpin(self, pin: Pin) -> None:
        with self._lock:
            self._pins = tuple(other for other in self._pins if other is not pin)

    def can_trim(self, retention_bytes: int, applied: int, pinned_bytes_max: int) -> bool:
        return self._forgettable(retention_bytes, applied, pinned_bytes_max) > 0

    def trim(self, retention_bytes: int, applied: int, pinned_bytes_max: int) -> None:
        """Forget the oldest segments while more than ``retention_bytes`` are kept and all in them is applied.

        Those that are pinned count as needed until more than ``pinned_bytes_max`` are kept.
        """
        with self._lock:
            count = self._forgettable(retention_bytes, applied, pinned_bytes_max)
            removed, self._segments = self._segments[:count], self._segments[count:]
        if removed:
            with _Guard(self, "trimming the log"):
                self._unlink(removed)

    def _forgettable(self, retention_bytes: int, applied: int, pinned_bytes_max: int) -> int:
        """How many segments may go."""
        pinned = min((pin.lsn for pin in self._pins), default=applied)
        total, count = self.size_bytes, 0
        for segment in self._segments[:-1]:
            needed = segment.last.lsn > pinned and total <= pinned_bytes_max
            if segment.last.lsn > applied or total <= retention_bytes or needed:
                break
            total -= segment.end
            count += 1
        return count

    def close(self) -> None:
        self._close_last()

    def _roll(self) -> None:
        if self._segments[-1].is_fixed or self._segments[-1].end >= self._segment_bytes:
            self._close_last()
            self._segments += (Segment.create(self._files, self._directory, self.last),)
            self._open_last()

    def _remove(self, removed: list[Segment]) -> None:
        self._segments = tuple(segment for segment in self._segments if segment not in removed)
        self._unlink(removed)

    def _unlink(self, removed: Iterable[Segment]) -> None:
        """In this order, so that what remains after a crash has no gap."""
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
