from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from springtide import errors
from springtide.engine import Trimmed, read_log
from springtide.engine.files import Files
from springtide.engine.log import Log
from springtide.records.entries import Entry
from springtide.records.position import ORIGIN
from tests.unit.build import history
from tests.unit.engine.disk import CountingFiles, FailingFiles, log

TEN = history("1*4 2*3 5*3")


def opened(directory: Path, files: Files | None = None, segment_bytes: int = 250) -> Log:
    return Log.open(directory, files or Files(), segment_bytes)


def written(directory: Path, entries: list[Entry], segment_bytes: int = 250) -> list[Path]:
    """A log in which each entry was synced by itself; returns its files."""
    made = opened(directory, segment_bytes=segment_bytes)
    for entry in entries:
        made.write([entry])
    made.close()
    return sorted(directory.iterdir())


def everything(found: Log) -> list[Entry]:
    return list(found.entries(found.oldest.lsn, found.last.lsn))


def test_an_empty_directory_begins_at_the_origin(tmp_path):
    found = opened(tmp_path / "log")

    assert (found.oldest, found.last) == (ORIGIN, ORIGIN)
    assert found.read(0, 1000) == ()


def test_what_was_written_is_read_from_any_lsn_across_segments(tmp_path):
    files = written(tmp_path, TEN)
    found = opened(tmp_path)

    assert len(files) > 2
    assert found.last == TEN[-1].point
    for after in range(10):
        assert list(found.entries(after, 10)) == TEN[after:]
        assert found.point(after + 1) == TEN[after].point
    assert found.point(0) == ORIGIN
    assert found.point(11) is None


@pytest.mark.parametrize(("bytes_max", "count"), [(0, 1), (64, 1), (130, 2), (10_000, 10)])
def test_a_read_takes_what_fits_and_at_least_one(tmp_path, bytes_max, count):
    written(tmp_path, TEN, segment_bytes=100_000)

    assert len(opened(tmp_path).read(0, bytes_max)) == count


def test_entries_written_together_share_one_write_and_one_sync(tmp_path):
    files = CountingFiles()
    found = opened(tmp_path, files, segment_bytes=100_000)
    files.syncs = files.writes = 0

    found.write(TEN)

    assert (files.writes, files.syncs) == (1, 1)


def test_a_file_cut_anywhere_opens_with_the_entries_before_the_cut(tmp_path):
    """A node may die while it writes, after any byte."""
    (path,) = written(tmp_path / "whole", TEN, segment_bytes=100_000)
    data, ends = path.read_bytes(), []
    for frames in range(1, 11):
        ends.append(_end_of(tmp_path, frames))
    for size in range(ends[6], len(data)):
        torn = tmp_path / "torn"
        torn.mkdir()
        (torn / path.name).write_bytes(data[:size])

        found = opened(torn, segment_bytes=100_000)

        kept = sum(end <= size for end in ends)
        assert everything(found) == TEN[:kept]
        found.write(TEN[kept:])
        found.close()
        assert everything(opened(torn)) == TEN
        shutil.rmtree(torn)


def _end_of(tmp_path: Path, count: int) -> int:
    (path,) = written(tmp_path / f"first-{count}", TEN[:count], segment_bytes=100_000)
    return path.stat().st_size


def test_a_torn_tail_is_cut_on_the_disk_too(tmp_path):
    (path,) = written(tmp_path, TEN, segment_bytes=100_000)
    os.truncate(path, path.stat().st_size - 1)

    opened(tmp_path).close()

    assert path.stat().st_size == _end_of(tmp_path, 9)


@pytest.mark.parametrize("segment_bytes", [100_000, 250])
def test_a_flipped_bit_before_the_end_is_damage_and_names_the_file(tmp_path, segment_bytes):
    path = written(tmp_path, TEN, segment_bytes)[0]
    data = bytearray(path.read_bytes())
    for at in (0, 20, 60, 110, 130):
        path.write_bytes(data[:at] + bytes((data[at] ^ 4,)) + data[at + 1 :])

        with pytest.raises(errors.Damaged, match=path.name):
            opened(tmp_path, segment_bytes=segment_bytes)


def test_a_torn_tail_of_a_segment_that_is_not_the_last_is_damage(tmp_path):
    path = written(tmp_path, TEN)[0]
    os.truncate(path, path.stat().st_size - 1)

    with pytest.raises(errors.Damaged, match=rf"{path.name} is damaged at offset \d+, in the entry with lsn"):
        opened(tmp_path)


def test_a_missing_segment_is_damage(tmp_path):
    files = written(tmp_path, TEN)
    files[1].unlink()

    with pytest.raises(errors.Damaged, match="continues from"):
        opened(tmp_path)


def test_damage_that_came_later_is_found_when_it_is_read(tmp_path):
    (path,) = written(tmp_path, TEN, segment_bytes=100_000)
    found = opened(tmp_path)
    data = bytearray(path.read_bytes())
    data[-5] ^= 1
    path.write_bytes(data)

    with pytest.raises(errors.Damaged, match="lsn 10"):
        found.read(9, 1000)


@pytest.mark.parametrize("keep", [0, 1, 3, 4, 5, 9])
def test_a_cut_sets_the_tail_aside_and_goes_on_from_what_is_kept(tmp_path, keep):
    written(tmp_path / "log", TEN)
    found = opened(tmp_path / "log")
    point = found.point(keep)
    assert point is not None

    aside = found.cut(point, tmp_path / "diverged")

    assert aside is not None
    assert list(read_log(aside)) == TEN[keep:]
    assert found.last == point
    other = history("7b*3", base=point)
    found.write(other)
    found.close()
    assert everything(opened(tmp_path / "log")) == TEN[:keep] + other


def test_what_was_set_aside_is_named_by_its_first_and_last_entry_and_never_overwritten(tmp_path):
    written(tmp_path / "log", TEN)
    found = opened(tmp_path / "log")
    names = []
    for _ in range(2):
        aside = found.cut(TEN[7].point, tmp_path / "diverged")
        assert aside is not None
        names.append(aside.name)
        found.write(TEN[8:])

    assert names == ["5-9..5-10", "5-9..5-10.2"]


def test_cutting_nothing_changes_nothing(tmp_path):
    written(tmp_path / "log", TEN)
    found = opened(tmp_path / "log")

    assert found.cut(found.last, tmp_path / "diverged") is None
    assert not (tmp_path / "diverged").exists()


def test_trimming_forgets_whole_segments_that_are_applied(tmp_path):
    written(tmp_path, TEN)
    found = opened(tmp_path)

    found.trim(0, applied=6, pinned_bytes_max=0)

    assert 0 < found.oldest.lsn <= 6
    with pytest.raises(Trimmed) as trimmed:
        found.read(0, 1000)
    assert trimmed.value.oldest == found.oldest
    assert list(found.entries(found.oldest.lsn, 10)) == TEN[found.oldest.lsn :]
    assert found.point(found.oldest.lsn) == TEN[found.oldest.lsn - 1].point
    assert opened(tmp_path).oldest == found.oldest


def test_trimming_keeps_what_is_not_applied_and_what_retention_allows(tmp_path):
    written(tmp_path, TEN)
    found = opened(tmp_path)

    found.trim(0, applied=0, pinned_bytes_max=0)
    found.trim(1_000_000, applied=10, pinned_bytes_max=0)

    assert found.oldest == ORIGIN


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_after_a_failed_write_or_sync_nothing_more_is_written(tmp_path, call):
    files = FailingFiles()
    found = opened(tmp_path, files)
    found.write(TEN[:1])
    files.fail_next(call, written=30)

    with pytest.raises(errors.DiskFailed, match="appending lsn 2"):
        found.write(TEN[1:2])
    with pytest.raises(errors.DiskFailed, match="refused after an earlier failure"):
        found.write(TEN[1:2])

    assert everything(opened(tmp_path))[:1] == TEN[:1]


def test_a_segment_that_was_being_made_when_the_node_died_is_no_segment(tmp_path):
    written(tmp_path, TEN)
    (tmp_path / "00000000000000000099.log.new").write_bytes(b"SPR")

    assert opened(tmp_path).last == TEN[-1].point
    assert not list(tmp_path.glob("*.new"))


def test_what_is_found_at_the_start_is_written_anew_before_it_counts_as_durable(tmp_path):
    """It may never have reached the disk: a sync that failed once says nothing the second time."""
    written(tmp_path, TEN)
    files = CountingFiles()

    found = opened(tmp_path, files)

    assert (files.writes, files.syncs) == (1, 1)
    assert everything(found) == TEN


def test_a_node_with_a_full_disk_still_starts(tmp_path):
    class Full(Files):
        def write(self, fd: int, data: bytes) -> None:
            raise OSError(errno.ENOSPC, "injected")

    (path,) = written(tmp_path, TEN, segment_bytes=100_000)
    os.truncate(path, path.stat().st_size - 1)

    assert everything(opened(tmp_path, Full())) == TEN[:9]
    assert path.stat().st_size == _end_of(tmp_path, 9)


def test_a_directory_that_cannot_be_read_says_so(tmp_path):
    class Unreadable(Files):
        def read(self, path: Path, at: int = 0, size: int | None = None) -> bytes:
            raise OSError(errno.EIO, "injected")

    written(tmp_path, TEN)

    with pytest.raises(errors.DiskFailed, match="injected"):
        opened(tmp_path, Unreadable())


def test_large_bodies_are_written_and_read_whole(tmp_path):
    made = log({1: b"x" * 9_000_000}, {2: b"small"}, {3: b"y" * 5_000_000})
    found = opened(tmp_path)

    found.write(made)

    assert everything(opened(tmp_path)) == made
