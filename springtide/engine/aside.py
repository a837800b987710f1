"""Tails of the log that were set aside: each a directory with a log of its own, which nobody writes to."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from springtide.engine import segments
from springtide.engine.files import Files
from springtide.engine.segments import Segment
from springtide.records.entries import Entry
from springtide.records.position import Point


def set_aside(
    files: Files, keep: Point, tail: Iterator[Entry], last: Point, aside: Path, beside: Callable[[Path], None]
) -> Path:
    """Copy ``tail``, which follows ``keep`` and ends at ``last``, into a new directory under ``aside``, durably.

    ``beside`` puts into the directory what belongs to the tail and is not in the log.
    The directory is named by the first and the last entry in it, and has its name only when it is whole.
    """
    first = next(tail)
    files.make_directory(aside)
    target = _unused(aside, f"{first.point}..{last}".replace("/", "-"))
    copy = target.with_name(target.name + ".new")
    shutil.rmtree(copy, ignore_errors=True)
    files.make_directory(copy)
    segment = Segment.create(files, copy, keep)
    fd = files.open(segment.path)
    try:
        files.seek_end(fd)
        for entry in itertools.chain((first,), tail):
            for part in segments.frames((entry,), segment.seed, keep.lsn):
                files.write(fd, part)
        files.fdatasync(fd)
    finally:
        files.close(fd)
    beside(copy)
    files.rename(copy, target)
    files.sync_directory(aside)
    return target


def read_log(directory: Path) -> Iterator[Entry]:
    """The entries of a log that nobody writes to."""
    files = Files()
    for segment in segments.scan_all(directory, files):
        after = segment.base.lsn
        while after < segment.last.lsn:
            for entry in segment.read(files, after + 1, segments.JOINED_BYTES_MAX):
                after = entry.lsn
                yield entry


def names_aside(aside: Path) -> list[str]:
    """Of the tails that were set aside."""
    return sorted(path.name for path in aside.iterdir() if path.suffix != ".new") if aside.is_dir() else []


def _unused(directory: Path, name: str) -> Path:
    path, again = directory / name, 2
    while path.exists():
        path, again = directory / f"{name}.{again}", again + 1
    return path
