"""Bytes that are too many for memory."""

from __future__ import annotations

import errno
import gc
import os

import pytest

from springtide import errors
from springtide.spool import SPOOLED_FROM, FileSpool, Growing, Room, sweep


def test_what_is_written_and_patched_is_viewed_without_a_name(tmp_path):
    spool = FileSpool(tmp_path, begin=4)
    spool.write(b"hello ")
    spool.write(memoryview(b"world"))
    view = spool.view(4)
    spool.patch(4, b"J")
    spool.patch(1, b"abc")

    assert bytes(view) == b"Jello world"
    assert bytes(spool.view()) == b"\0abcJello world"
    assert spool.read(4, 5) == b"Jello"
    assert list(tmp_path.iterdir()) == [], "a kill leaves nothing"


def test_a_view_outlives_its_spool_and_what_is_written_later(tmp_path):
    spool = FileSpool(tmp_path)
    spool.write(b"first")
    view = spool.view()
    spool.write(b"second")
    del spool

    assert bytes(view) == b"first"
    assert view.readonly


def test_an_empty_spool_has_an_empty_view(tmp_path):
    assert bytes(FileSpool(tmp_path).view()) == b""
    assert bytes(FileSpool(tmp_path, begin=3).view(3)) == b""


def test_the_room_is_given_back_with_the_last_who_holds_anything(tmp_path):
    room = Room(10)
    spool = FileSpool(tmp_path, room)
    spool.write(b"12345678")
    part = spool.view()[2:4]

    with pytest.raises(errors.NoSpace, match="try again"):
        FileSpool(tmp_path, room).write(b"123")
    del spool
    gc.collect()
    assert room.used == 8, "somebody still looks at it"
    del part
    gc.collect()
    assert room.used == 0
    FileSpool(tmp_path, room).write(b"1234567890")


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.ENOSPC, errors.NoSpace), (errno.EDQUOT, errors.NoSpace), (errno.EIO, errors.DiskFailed)]
)
def test_a_full_disk_and_a_failed_one_are_told_apart(tmp_path, monkeypatch, number, kind):
    spool = FileSpool(tmp_path)

    def fails(*_: object) -> int:
        raise OSError(number, "injected")

    monkeypatch.setattr(os, "pwrite", fails)

    with pytest.raises(kind, match=str(tmp_path)):
        spool.write(b"x")


def test_a_directory_that_is_not_there_is_an_error_with_its_name(tmp_path):
    with pytest.raises(errors.DiskFailed, match="missing"):
        FileSpool(tmp_path / "missing")


def test_what_a_killed_process_left_is_swept(tmp_path):
    (tmp_path / "tmpabc.new").write_bytes(b"left")
    (tmp_path / "kept").write_bytes(b"")

    sweep(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["kept"]


@pytest.mark.parametrize("size", [0, 10, SPOOLED_FROM - 1, SPOOLED_FROM + 2**20, 2 * SPOOLED_FROM])
def test_parts_that_arrive_are_put_together_wherever_they_are_held(tmp_path, size):
    data = os.urandom(size)
    growing, spooled = Growing(lambda: FileSpool(tmp_path)), 0
    for at in range(0, size, 2**20):
        growing.add(data[at : at + 2**20])
        if growing.overflows:
            growing.spool()
            spooled += 1

    assert growing.size == size
    assert growing.whole() == data
    assert bool(spooled) == (size > SPOOLED_FROM) == isinstance(growing.whole(), memoryview)
