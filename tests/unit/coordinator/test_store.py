from __future__ import annotations

import pytest

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.store import (
    Announcement,
    RawView,
    Refused,
    Swapped,
    View,
    check_name,
    decode_announcement,
    encode_announcement,
    settle,
    supersedes,
)
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId
from tests.unit.coordinator.build import one, record, view

A = Announcement(NodeId("a"), "host:1", "7", "a.1")


def test_an_announcement_comes_back_from_its_bytes() -> None:
    assert decode_announcement(encode_announcement(A)) == A
    assert A.member == one("a7")


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff", encode_announcement(A).replace(b'"7"', b"7")])
def test_what_is_no_announcement_counts_as_none(data: bytes) -> None:
    assert decode_announcement(data) is None
    assert RawView(0, b"", {"a": data, "b": encode_announcement(A)}, {}).decoded() == View()


def test_a_damaged_record_is_never_shown() -> None:
    with pytest.raises(errors.Damaged):
        RawView(3, b"{}", {}, {}).decoded()


MINE, THEIRS = record("a b", change="mine"), record("a b", change="theirs")


@pytest.mark.parametrize(
    ("shown", "expected"),
    [
        (view(THEIRS, revision=4), None),
        (view(MINE, revision=5), Swapped(view(MINE, revision=5))),
        (view(THEIRS, revision=5), Refused(view(THEIRS, revision=5))),
        (view(None), None),
    ],
)
def test_a_swap_whose_answer_was_lost_is_settled_only_by_a_record_that_has_moved(
    shown: View, expected: Swapped | Refused | None
) -> None:
    assert settle(shown, MINE, expected_revision=4) == expected


@pytest.mark.parametrize(
    ("shown", "known", "revision", "expected"),
    [
        (view(record(epoch=1), revision=5), record(epoch=1), 4, True),
        (view(record(epoch=1), revision=4), record(epoch=1), 4, False),
        (view(record(epoch=1), revision=3), record(epoch=1), 4, False),
        (view(record(epoch=2), revision=5), record(epoch=1), 4, True),
        (view(record(epoch=9), revision=1), record(epoch=3), 4, True),  # written by recovery, into an empty store
        (view(record(epoch=2), revision=9), record(epoch=3), 4, False),  # a store that was put back
        (view(record(epoch=1), revision=1), None, 0, True),
        (view(None), None, 0, False),
        (view(None), record(epoch=1), 4, False),
    ],
)
def test_records_only_go_forward(shown: View, known: Record | None, revision: int, expected: bool) -> None:
    assert supersedes(shown, known, revision) is expected


@pytest.mark.parametrize("name", ["", "a/b", "a b", "x" * 201, "a\n"])
def test_a_name_that_cannot_be_part_of_a_key_is_refused(name: str) -> None:
    with pytest.raises(errors.BadRequest):
        check_name(name)


def test_encoded_records_are_stable() -> None:
    assert topology.encode(record("c b a")) == topology.encode(record("a b c"))
