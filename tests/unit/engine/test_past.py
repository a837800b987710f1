"""Reads of the past, and of all that is now, against a model that keeps every transaction in a list."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.engine import Current
from springtide.engine.overlay import Revision
from springtide.engine.past import repeats
from springtide.records import entries
from springtide.records.entries import Blob, Entry, Kind, Transaction, Write
from springtide.records.ids import OID_ZERO, TID_MAX, TID_ZERO, Tid, oid, tid
from springtide.records.position import ORIGIN
from tests.unit.engine.disk import applying_held, commit, id_of, log, oids, tell

NAMES = range(4)
#: What one transaction says of each object: a record, None, or the number of an earlier transaction it repeats.
Said = dict[int, bytes | int | None]
histories = st.lists(
    st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), st.binary(max_size=2), st.integers(1, 8)), min_size=1),
    min_size=1,
    max_size=8,
)


class Model:
    """What was committed, and answers to every question by looking through all of it."""

    def __init__(self, said: Sequence[Said]) -> None:
        self.transactions: list[Transaction] = []
        for number, changes in enumerate(said, 1):
            writes = [self._write(name, change) for name, change in changes.items()]
            made = Transaction(tid(number), id_of(number), b"u", b"d%d" % number, b"", tuple(writes))
            self.transactions.append(made)

    def _write(self, name: int, change: bytes | int | None) -> Write:
        if not isinstance(change, int):
            return Write(oid(name), change)
        repeated = self.revision(name, tid(change))
        return Write(oid(name), b"none" if repeated is None else repeated.data, tid(change))

    def entries(self) -> list[Entry]:
        made: list[Entry] = []
        for transaction in self.transactions:
            body = entries.encode_transaction(transaction)
            made.append(entries.following(made[-1].point if made else ORIGIN, 1, Kind.TRANSACTION, body))
        return made

    def revision(self, name: int, at: Tid) -> Write | None:
        return dict(self.revisions(name)).get(at)

    def revisions(self, name: int) -> list[tuple[Tid, Write]]:
        return [(t.tid, write) for t in self.transactions for write in t.writes if write.oid == oid(name)]


def agree(engine, model: Model) -> None:
    """Every question gets the model's answer."""
    committed = model.transactions
    for before in [*(t.tid for t in committed), TID_MAX]:
        for count in (0, 1, 3, 100):
            expected = [(t.tid, size_of(t)) for t in reversed(committed) if t.tid < before][:count]
            assert [(h.head.tid, h.size) for h in engine.heads(before, count)] == expected
    for transaction in committed:
        head, written = engine.transaction(transaction.tid)
        assert (head.description, list(written)) == (transaction.description, [w.oid for w in transaction.writes])
    for name in NAMES:
        look_at_one(engine, model, name)
    for start in NAMES:
        expected = [
            Current(oid(name), *newest)
            for name in NAMES
            if name >= start and (newest := current(model, name)) is not None
        ]
        for bytes_max in (1, 140, 10_000):
            assert walked(engine, oid(start), bytes_max) == expected


def look_at_one(engine, model: Model, name: int) -> None:
    revisions = model.revisions(name)
    for before in [*(at for at, _ in revisions), TID_MAX]:
        expected = [(at, len(w.data or b""), w.data is None) for at, w in reversed(revisions) if at < before]
        for count in (0, 1, 100):
            found = engine.history(oid(name), before, count)
            assert [(h.head.tid, h.size, h.absent) for h in found] == expected[:count]
    for number in range(1, len(model.transactions) + 2):
        at = tid(number)
        said = dict(revisions).get(at)
        assert engine.said(oid(name), at, b"never") is False
        assert engine.said(oid(name), at, None if said is None else said.data) is (said is not None)
        facts = engine.undoing(at, oid(name))
        if at not in dict(revisions):
            assert facts is None
            continue
        undone, (newest, now) = dict(revisions)[at], revisions[-1]
        older = [revision for revision in revisions if revision[0] < at]
        assert (facts.current, facts.current_absent) == (newest, now.data is None)
        assert facts.undone_absent is (undone.data is None)
        assert facts.same is repeats(Revision(newest, now), Revision(at, undone))
        assert (facts.before, facts.write) == (older[-1] if older else (None, None))


def size_of(transaction: Transaction) -> int:
    return sum(len(write.data or b"") for write in transaction.writes)


def current(model: Model, name: int) -> tuple[Tid, bytes] | None:
    revisions = model.revisions(name)
    if not revisions or revisions[-1][1].data is None:
        return None
    return revisions[-1][0], revisions[-1][1].data


def walked(engine, start, bytes_max: int) -> list[Current]:
    found, at = [], start
    while at is not None:
        page, following, as_of = engine.current_records(at, bytes_max)
        assert as_of == engine.commit_tid
        assert page or following is None, "an empty page ends the walk"
        assert following is None or following > page[-1].oid
        found += page
        at = following
    return found


@given(histories, st.data())
def test_reads_of_the_past_agree_with_the_model_wherever_the_entries_are(said, data):
    """In memory, half applied, applied, and after a restart."""
    model = Model(said)
    written = model.entries()
    applied = data.draw(st.integers(0, len(said)), "applied")

    async def first(engine):
        await engine.append(written)
        if applied:
            engine.commit(applied)
            await engine.until_applied(applied)
        with applying_held(engine):
            engine.commit(len(said))
            agree(engine, model)
        await engine.until_applied(len(said))
        agree(engine, model)

    async def second(engine):
        agree(engine, model)

    with tempfile.TemporaryDirectory() as directory:
        tell(Path(directory), first)
        tell(Path(directory), second)


@pytest.mark.parametrize(
    ("current", "undone", "same"),
    [
        ((5, b"x", None), (5, b"x", None), True),
        ((7, b"x", None), (5, b"x", None), True),
        ((7, b"y", None), (5, b"x", None), False),
        ((7, b"x", 5), (5, b"x", None), True),
        ((7, b"y", 5), (5, b"x", None), False),  # data decide, whatever a copy may claim
        ((7, None, None), (5, b"x", None), False),
        ((7, b"x", None), (5, None, None), False),
        ((7, None, None), (5, None, None), False),
        ((7, None, 5), (5, None, None), True),
    ],
)
def test_what_repeats_what(current, undone, same):
    def revision(number, data, data_tid):
        return Revision(tid(number), Write(oid(1), data, None if data_tid is None else tid(data_tid)))

    assert repeats(revision(*current), revision(*undone)) is same


def test_what_is_not_committed_is_not_shown(tmp_path):
    async def story(engine):
        await engine.append(log({1: b"a"}, {1: b"b", 2: b"c"}))
        engine.commit(1)
        assert [h.head.tid for h in engine.heads(TID_MAX, 9)] == [tid(1)]
        assert engine.transaction(tid(2)) is None
        assert engine.undoing(tid(2), oid(1)) is None
        assert [h.head.tid for h in engine.history(oid(1), TID_MAX, 9)] == [tid(1)]
        assert engine.current_records(OID_ZERO, 100) == ([Current(oid(1), tid(1), b"a")], None, tid(1))

    tell(tmp_path, story)


def test_a_walk_passes_over_many_objects_that_are_gone(tmp_path):
    """More of them than one look at the state reads."""
    many = dict.fromkeys(range(2_500), b"x")

    async def story(engine):
        await commit(engine, log(many, {**dict.fromkeys(range(1, 2_499))}))
        page, following, _ = engine.current_records(OID_ZERO, 10_000)
        assert [record.oid for record in page] == list(oids(0, 2_499))
        assert following is None

    tell(tmp_path, story)


def test_an_empty_database_has_no_past(tmp_path):
    async def story(engine):
        assert engine.heads(TID_MAX, 5) == []
        assert engine.current_records(OID_ZERO, 100) == ([], None, TID_ZERO)
        assert engine.history(oid(1), TID_MAX, 5) == []

    tell(tmp_path, story)


def test_a_blob_says_the_same_only_where_its_file_does() -> None:
    def revision(number: int, content: bytes) -> Revision:
        return Revision(tid(number), Write(oid(1), b"blob", blob=Blob(bytes([number]) * 16, 3, content * 16)))

    assert repeats(revision(3, b"a"), revision(1, b"a"))
    assert not repeats(revision(3, b"b"), revision(1, b"a")), "their records are alike all the same"
