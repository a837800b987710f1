"""What a follower reads where its disk has no room."""

from __future__ import annotations

import pytest

from springtide.errors import DiskFailed, NoSpace
from springtide.records import feed
from springtide.records.entries import Kind, following
from springtide.records.position import ORIGIN
from springtide.spool import FileSpool, Room
from springtide.wire import convert
from springtide.wire.reading import DownwardReader

BODY = bytes(range(256)) * 40_000


def parts(id: bytes):
    for start in range(0, len(BODY), 2**20):
        message = feed.BodyPart(id, BODY[start : start + 2**20], start + 2**20 >= len(BODY))
        yield from convert.downward_to_wire(message)


def test_a_body_without_room_is_let_go_and_the_next_one_arrives() -> None:
    room = Room(len(BODY) + 100)
    reader = DownwardReader(lambda: FileSpool(room=room))
    room.take(len(BODY))
    assert {type(reader.take(part)) for part in parts(b"1")} == {feed.Part}
    room.give_back(len(BODY))
    assert room.used == 0, "nothing of it is kept"
    assert {type(reader.take(part)) for part in parts(b"1")} == {feed.Part}, "it is not begun in the middle"
    (gone,) = convert.downward_to_wire(feed.BodiesGone((b"1",)))
    reader.take(gone)

    assert isinstance([reader.take(part) for part in parts(b"2")][-1], feed.Arrived)
    assert room.used == len(BODY)
    reader.forget()
    assert room.used == 0


def test_a_disk_that_fails_is_said() -> None:
    def fail() -> FileSpool:
        raise DiskFailed("injected")

    with pytest.raises(DiskFailed):
        list(map(DownwardReader(fail).take, parts(b"1")))


def test_an_entry_without_room_ends_the_stream() -> None:
    room = Room(100)
    reader = DownwardReader(lambda: FileSpool(room=room))
    large = following(ORIGIN, 1, Kind.TRANSACTION, BODY)

    with pytest.raises(NoSpace, match="at most 100"):
        list(map(reader.take, convert.downward_to_wire(feed.Append((large,), 0))))
