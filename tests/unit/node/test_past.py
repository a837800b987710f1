"""What is told of the past: pages that end in time, and large records in parts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace

import pytest

from springtide import errors
from springtide.engine import Current, Head, Undoing
from springtide.node import past
from springtide.node.past import OBJECTS_MAX, PAGE_MAX, PastRequests, undone
from springtide.records.entries import Blob, TransactionHead, Write
from springtide.records.ids import TID_MAX, TID_ZERO, TransactionId, oid
from springtide.wire import CHUNK_BYTES, MESSAGE_BYTES_MAX
from springtide.wire.v1 import session_pb2 as pb
from tests.unit.build import tid


class Disk:
    """A transaction 5 that wrote ``count`` objects of ``size`` bytes, each for the second time."""

    packed = tid(3)

    def __init__(self, count=3, size=10):
        self.oids = [oid(number) for number in range(count)]
        self.data = bytes(size)
        self.head = TransactionHead(tid(5), TransactionId(bytes(24)), b"u", b"d", b"e", count, b" ")

    def heads(self, before, count):
        return [Head(self.head, 30)][:count]

    def history(self, oid, before, count):
        return [Head(self.head, 10, True)]

    def transaction(self, at):
        return (self.head, self.oids) if at == tid(5) else None

    def undoing(self, at, oid):
        return Undoing(oid, tid(5), False, True, False, tid(4), Write(oid, self.data)) if oid in self.oids else None

    def current_records(self, start, bytes_max):
        return [Current(start, tid(5), self.data)], oid(9), tid(5)


def ask(disk, kind, asked):
    given = []
    answers = SimpleNamespace(
        answer=lambda request, **body: given.append((request, *body.items())), served=lambda reads: None
    )

    async def until_tid(floor, seconds):
        assert floor in (TID_ZERO, tid(2))

    core = SimpleNamespace(disk=disk, until_tid=until_tid)
    asyncio.run(PastRequests(core, answers).answer(7, kind, asked))
    assert {request for request, _ in given} == {7}
    return [body for _, body in given]


def test_transactions_are_told_with_all_that_a_log_of_them_shows():
    (kind, told), (end, done) = ask(Disk(), "heads", pb.Heads(before=TID_MAX, count=5, floor=tid(2)))

    assert (kind, end, done) == ("past", "done", pb.Done())
    assert told == pb.Past(tid=tid(5), status=b" ", user=b"u", description=b"d", extension=b"e", size=30)


def test_a_history_says_where_the_object_was_gone():
    (_, told), _ = ask(Disk(), "history", pb.History(oid=oid(1), before=TID_MAX, count=5))

    assert (told.tid, told.size, told.absent) == (tid(5), 10, True)


def test_what_was_packed_is_told_to_be():
    disk = Disk()
    disk.packed = tid(5)

    (_, told), *_ = ask(disk, "undo_read", pb.UndoRead(tid=tid(5)))

    assert told.packed


def test_what_is_packed_while_it_is_read_is_told_to_be():
    """The revision before may just have been taken away: then it looks as if the transaction had made the object."""
    disk = Disk()

    def undoing(at, name):
        disk.packed = tid(5)
        return Undoing(name, tid(5), False, True, False, None, None)

    disk.undoing = undoing

    (_, told), *_ = ask(disk, "undo_read", pb.UndoRead(tid=tid(5)))

    assert told.packed


@pytest.mark.parametrize("size", [10, CHUNK_BYTES // 3 + 1])
@pytest.mark.parametrize("count", [0, 1, 3, 7])
def test_all_objects_of_a_transaction_are_told_page_after_page(count, size):
    disk = Disk(count, size)
    told, pages, first = [], 0, 0
    while first is not None:
        (kind, head), *objects, (end, done) = ask(disk, "undo_read", pb.UndoRead(tid=tid(5), first=first))
        assert (kind, head.tid, end) == ("past", tid(5), "done")
        told += [each.oid for _, each in objects]
        first = int.from_bytes(done.next, "big") if done.next else None
        pages += 1

    assert told == disk.oids
    assert pages == (1 if size == 10 else max(1, -(-count // 3)))


def test_a_page_of_small_objects_is_bounded_too(monkeypatch):
    monkeypatch.setattr(past, "OBJECTS_MAX", 4)

    _, *objects, (_, done) = ask(Disk(9), "undo_read", pb.UndoRead(tid=tid(5)))

    assert (len(objects), int.from_bytes(done.next, "big")) == (4, 4)


def test_chosen_objects_only():
    _, *objects, (_, done) = ask(Disk(9), "undo_read", pb.UndoRead(tid=tid(5), oids=[oid(4), oid(99)]))

    assert [each.oid for _, each in objects] == [oid(4)] and done == pb.Done()


def test_nothing_is_told_of_a_transaction_that_is_not_there():
    assert ask(Disk(), "undo_read", pb.UndoRead(tid=tid(6))) == [("done", pb.Done())]


def test_a_walk_goes_on_where_the_page_ended():
    (_, told), (_, done) = ask(Disk(), "records", pb.Records(start=oid(4)))

    assert (told.oid, told.tid, told.as_of, told.more) == (oid(4), tid(5), tid(5), False)
    assert done.next == oid(9)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 3 * CHUNK_BYTES + 1])
def test_a_record_before_travels_in_as_many_parts_as_it_takes(size):
    write = Write(oid(1), bytes(size), tid(2), oid(3), Blob(b"i" * 16, 4, b"d" * 16))

    parts = list(undone(Undoing(oid(1), tid(9), True, False, True, tid(4), write)))

    first = parts[0]
    assert b"".join(part.data for part in parts) == write.data
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert all(part.ByteSize() < MESSAGE_BYTES_MAX for part in parts)
    assert (first.current, first.current_absent, first.same, first.undone_absent) == (tid(9), True, False, True)
    assert (first.before, first.before_absent, first.refers, first.references) == (tid(4), False, True, oid(3))
    assert (first.blob.id, first.blob.size, first.blob.digest) == (b"i" * 16, 4, b"d" * 16)


@pytest.mark.parametrize(
    ("kind", "asked"),
    [
        ("heads", pb.Heads(before=b"1", count=1)),
        ("heads", pb.Heads(before=TID_MAX, count=0)),
        ("heads", pb.Heads(before=TID_MAX, count=PAGE_MAX + 1)),
        ("history", pb.History(oid=b"", before=TID_MAX, count=1)),
        ("history", pb.History(oid=oid(1), before=TID_MAX, count=PAGE_MAX + 1)),
        ("undo_read", pb.UndoRead(tid=b"")),
        ("undo_read", pb.UndoRead(tid=tid(1), oids=[b"x"])),
        ("undo_read", pb.UndoRead(tid=tid(1), oids=[oid(1)] * (OBJECTS_MAX + 1))),
        ("records", pb.Records(start=b"")),
        ("records", pb.Records(start=oid(1), floor=b"x")),
    ],
)
def test_what_is_malformed_is_refused_at_once(kind, asked):
    with pytest.raises(errors.BadRequest):
        PastRequests(None, None).answer(1, kind, asked)
