"""Where a transaction stands, and what follows from what became of it."""

from __future__ import annotations

import pytest

from springtide.client.transaction import (
    Begun,
    Buffer,
    Conflict,
    Done,
    Kind,
    Metadata,
    Outcome,
    Result,
    Unknown,
    Write,
    again,
    finishing,
    make_id,
    settle,
    unresolvable,
    voted,
)
from springtide.records.ids import TID_ZERO, Oid, oid
from tests.unit.build import tid

A, B = oid(1), oid(2)


def begun(*writes: Write, told: frozenset[Oid] | None = None) -> Begun:
    buffer = Buffer()
    for write in writes:
        buffer.put(write)
    return Begun(make_id(bytes(16), tid(3)), Metadata(), buffer, told=told)


def store(name: Oid, data: bytes = b"x", serial: int = 1) -> Write:
    return Write(name, tid(serial), Kind.STORE, data)


def test_the_last_write_of_an_oid_wins_and_a_check_stays_beside_it():
    one = begun(store(A, b"12"), Write(A, tid(1), Kind.CHECK), store(B, b"1"), store(A, b"345"))

    assert list(one.buffer.all()) == [store(A, b"345"), store(B, b"1"), Write(A, tid(1), Kind.CHECK)]
    assert (len(one.buffer), one.buffer.data_bytes) == (3, 4)


@pytest.mark.parametrize(
    ("outcome", "expected"),
    [
        (Outcome(Result.COMMITTED, tid(7)), Done(tid(7))),
        (Outcome(Result.FORGOTTEN), Unknown("the cluster no longer remembers transactions this old")),
    ],
)
def test_an_outcome_settles_a_finish(outcome, expected):
    assert settle(finishing(voted(begun(store(A)), 1, {})), outcome) == expected


def test_after_never_the_next_attempt_has_the_original_records():
    first = begun(store(A, b"original"), store(B))

    second = settle(finishing(voted(first, 1, {A: b"resolved"})), Outcome(Result.NEVER))

    assert isinstance(second, Begun)
    assert (second.id, second.attempt) == (first.id, 2)
    assert second.buffer.writes[A].data == b"original"
    assert second.told == {A}


def test_attempts_grow_while_a_vote_is_repeated():
    assert again(again(begun(store(A)))).attempt == 3
    assert again(again(begun(store(A)))).told is None


def test_what_is_committed_is_the_resolved_record():
    vote = voted(begun(store(A, b"a"), store(B, b"b")), 1, {A: b"resolved"})

    assert [vote.data(write) for write in vote.begun.buffer.all()] == [b"resolved", b"b"]


CHANGED = Conflict(A, tid(1), tid(2))


@pytest.mark.parametrize(
    ("transaction", "conflict", "may_be_resolved"),
    [
        (begun(store(A)), CHANGED, True),
        (begun(store(A)), Conflict(A, tid(1), tid(2), read_check=True), False),
        (begun(store(A)), Conflict(A, tid(1), tid(2), deleted=True), False),
        (begun(store(A)), Conflict(A, tid(1), None), False),
        (begun(Write(A, TID_ZERO, Kind.STORE, b"new")), CHANGED, False),
        (begun(Write(A, tid(1), Kind.DELETE)), CHANGED, False),
        (begun(store(A), told=frozenset({A})), CHANGED, True),
        (begun(store(A), told=frozenset({B})), CHANGED, True),
    ],
)
def test_which_conflicts_may_be_resolved(transaction, conflict, may_be_resolved):
    assert unresolvable(transaction, [conflict]) == (None if may_be_resolved else conflict)


def test_what_is_resolved_after_zodb_was_told_is_late():
    first = voted(begun(store(A), store(B)), 1, {A: b"resolved"})
    assert first.late == frozenset()

    second = voted(again(first), 2, {A: b"again", B: b"resolved, too"})
    assert second.late == {B}

    third = voted(again(second), 3, {B: b"once more"})
    assert third.begun.told == {A} and third.late == {B}
