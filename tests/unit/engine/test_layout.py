from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide import errors
from springtide.engine import layout
from springtide.engine.layout import (
    decode_frame,
    decode_record,
    decode_segment_header,
    decode_transaction_row,
    encode_frame,
    encode_record,
    encode_segment_header,
    encode_transaction_row,
    is_torn,
    seal,
    unseal,
)
from springtide.records.entries import Blob, Entry, Write
from springtide.records.ids import oid, tid
from springtide.records.position import ORIGIN, Point
from tests.unit.engine.disk import log, transaction

SEED = 7
ENTRIES = log({1: b"one" * 400}, {1: b"two" * 400}, {1: b"three" * 400})


def framed(*made: tuple[Entry, int]) -> bytes:
    """Frames of entries, each with the lsn that was synced when it was written."""
    return b"".join(encode_frame(entry, SEED, synced) + entry.body for entry, synced in made)


def test_a_frame_is_read_as_it_was_written():
    data = framed((ENTRIES[0], 0))

    frame = decode_frame(memoryview(data), 0, SEED)

    assert frame is not None
    assert frame.entry(data) == ENTRIES[0]
    assert frame.end == len(data)


@given(st.data())
def test_no_changed_byte_goes_unnoticed(data):
    written = bytearray(framed((ENTRIES[0], 0)))
    at = data.draw(st.integers(0, len(written) - 1))
    written[at] ^= data.draw(st.integers(1, 255))

    frame = decode_frame(memoryview(bytes(written)), 0, SEED)

    assert frame is None


def test_a_frame_of_another_segment_is_not_taken_for_one_of_this():
    assert decode_frame(memoryview(framed((ENTRIES[0], 0))), 0, SEED + 1) is None


def test_a_segment_header_names_its_base():
    base = Point(3, 77, b"d" * 16)

    found, _, begin = decode_segment_header(encode_segment_header(base, 70_000), "here")

    assert (found, begin) == (base, 70_000)


def test_a_newer_log_format_says_what_to_do(monkeypatch):
    monkeypatch.setattr(layout, "LOG_FORMAT", 2)
    header = encode_segment_header(ORIGIN)
    monkeypatch.undo()

    with pytest.raises(errors.NewerFormat, match="here has format 2, this version reads up to 1: run the springtide"):
        decode_segment_header(header, "here")


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def zeroed(data: bytes, at: int) -> bytes:
    return data[:at] + bytes(512) + data[at + 512 :]


FIRST = framed((ENTRIES[0], 0))
ALONE = framed((ENTRIES[0], 0), (ENTRIES[1], 1), (ENTRIES[2], 2))
GROUP = framed((ENTRIES[0], 0), (ENTRIES[1], 1), (ENTRIES[2], 1))


@pytest.mark.parametrize(
    ("what", "data", "torn"),
    [
        ("the last entry is cut short", ALONE[:-10], True),
        ("the last entry has a wrong byte and nothing follows", flipped(ALONE, len(ALONE) - 10), True),
        ("zeros where the last entry should be", FIRST + bytes(4096), True),
        ("a wrong byte before an entry that was written after its sync", flipped(ALONE, len(FIRST) + 100), False),
        ("a missing sector before such an entry", zeroed(ALONE, 1536), False),
        ("a missing sector within a group that perhaps was never synced", zeroed(GROUP, 1536), True),
        ("a wrong byte within such a group", flipped(GROUP, len(FIRST) + 100), False),
    ],
)
def test_what_is_an_unfinished_write(what, data, torn):
    at, lsn, view = 0, 1, memoryview(data)
    while (frame := decode_frame(view, at, SEED)) is not None:
        at, lsn = frame.end, frame.lsn + 1

    assert is_torn(data, at, SEED, lsn) is torn, what


@pytest.mark.parametrize(
    "write",
    [
        Write(oid(5), b"record"),
        Write(oid(5), b""),
        Write(oid(5), None),
        Write(oid(5), b"undone", tid(3)),
        Write(oid(5), None, tid(3)),
        Write(oid(5), b"hidden", references=oid(1) + oid(2)),
        Write(oid(5), b"leaf", references=b""),
        Write(oid(5), b"blob", tid(3), oid(1), Blob(b"i" * 16, 2**40, b"d" * 16)),
    ],
)
def test_a_record_is_read_as_it_was_stored(write):
    key = oid(5) + tid(9)

    assert decode_record(key, encode_record(key, write)) == write


def test_a_row_does_not_pass_for_that_of_another_key():
    value = seal(b"key", b"payload")

    assert unseal("objects", b"key", value) == b"payload"
    with pytest.raises(errors.Damaged, match="table objects"):
        unseal("objects", b"kez", value)


def test_a_transaction_row_keeps_all_but_the_records():
    made = transaction(9, {1: b"x", 2: None})

    row = decode_transaction_row(tid(9), encode_transaction_row(Point(1, 4, b"d" * 16), made))

    assert row.point == Point(1, 4, b"d" * 16)
    assert row.oids == (oid(1), oid(2))
    assert (row.head.tid, row.head.id, row.head.user, row.head.description) == (made.tid, made.id, b"user", b"about 9")
