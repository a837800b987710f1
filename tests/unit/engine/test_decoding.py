"""What must never be written, because no node could ever apply it."""

from __future__ import annotations

import pytest

from springtide import errors
from springtide.engine.decoding import decode
from springtide.records import entries
from springtide.records.entries import Entry, Kind, Malformed, OidRange, Transaction, Write
from springtide.records.ids import TID_MAX, TID_ZERO, Oid, Tid, number, oid, tid
from springtide.records.position import ORIGIN, Point
from tests.unit.engine.disk import applying_held, commit, id_of, log, tell

ROWS = ("objects", "transactions", "commits")


OID = oid(1)
HIGHEST_TID = tid(number(TID_MAX) - 1)
HIGHEST_OID = oid(2**63 - 1)


def stored(at: Tid, name: Oid = OID, after: Point = ORIGIN) -> Entry:
    """One transaction that stores one object."""
    made = Transaction(at, id_of(number(at)), b"", b"", b"", (Write(oid(0), b""), Write(name, b"x")))
    return entries.following(after, 1, Kind.TRANSACTION, entries.encode_transaction(made))


def handed_out(first: int, count: int, after: Point = ORIGIN) -> Entry:
    return entries.following(after, 1, Kind.OIDS, entries.encode_oid_range(OidRange(first, count)))


REFUSED = {
    "tid zero": stored(TID_ZERO),
    "the last tid": stored(TID_MAX),
    "a tid above the last": stored(tid(2**63)),
    "the tid that overflows": stored(tid(2**64 - 1)),
    "the first oid that is too high": stored(tid(7), oid(2**63)),
    "the highest number there is": stored(tid(7), oid(2**64 - 1)),
    "no oids": handed_out(5, 0),
    "oids that end too high": handed_out(2**63 - 5, 6),
    "oids that overflow": handed_out(2**64 - 1, 2**32 - 1),
}


@pytest.mark.parametrize("entry", REFUSED.values(), ids=REFUSED)
def test_numbers_that_nothing_can_follow_are_malformed(entry):
    with pytest.raises(Malformed, match="lsn 1"):
        decode(entry)


@pytest.mark.parametrize(
    ("entry", "highest"),
    [
        (stored(tid(1)), 1),
        (stored(HIGHEST_TID, HIGHEST_OID), 2**63 - 1),
        (handed_out(2**63 - 5, 5), 2**63 - 1),
        (handed_out(0, 1), 0),
    ],
)
def test_the_highest_numbers_are_taken(entry, highest):
    assert decode(entry).highest_oid == highest


@pytest.mark.parametrize("entry", REFUSED.values(), ids=REFUSED)
def test_a_node_refuses_them_and_goes_on(tmp_path, entry):
    async def story(engine):
        with pytest.raises(Malformed):
            await engine.append([entry])
        assert (engine.last, engine.durable) == (ORIGIN, 0)
        await commit(engine, [stored(HIGHEST_TID, HIGHEST_OID)])
        assert (engine.commit_tid, engine.last_oid) == (HIGHEST_TID, 2**63 - 1)

    async def again(engine):
        assert (engine.commit_tid, engine.last_oid) == (HIGHEST_TID, 2**63 - 1)

    tell(tmp_path, story)
    tell(tmp_path, again)


FIVE_AND_NINE = [*log({1: b"x"}, first=5), *log({1: b"y"}, first=9, after=log({1: b"x"}, first=5)[0].point)]


@pytest.mark.parametrize("applied", [0, 1, 2])
@pytest.mark.parametrize("number", [1, 5, 7, 9])
def test_a_tid_that_does_not_grow_along_the_log_is_malformed(tmp_path, number, applied):
    lower = stored(tid(number), after=FIVE_AND_NINE[-1].point)

    async def refuse(engine):
        with pytest.raises(Malformed, match="tid"):
            await engine.append([lower])
        assert engine.last == FIVE_AND_NINE[-1].point

    async def first(engine):
        await engine.append(FIVE_AND_NINE)
        engine.commit(applied)
        await engine.until_applied(applied)
        await refuse(engine)

    async def second(engine):
        await refuse(engine)
        await commit(engine, [stored(tid(10), after=FIVE_AND_NINE[-1].point)])
        assert engine.commit_tid == tid(10)

    tell(tmp_path, first)
    tell(tmp_path, second)


def test_tids_grow_within_one_append_too(tmp_path):
    async def story(engine):
        with pytest.raises(Malformed, match="tid"):
            await engine.append([stored(tid(7)), stored(tid(7), after=stored(tid(7)).point)])
        await commit(engine, [stored(tid(2))])

    tell(tmp_path, story)


@pytest.mark.parametrize("committed", [False, True])
def test_a_tid_that_was_cut_may_come_again(tmp_path, committed):
    async def story(engine):
        await engine.append(FIVE_AND_NINE)
        if committed:
            engine.commit(1)
        await engine.cut(FIVE_AND_NINE[0].point)
        with pytest.raises(Malformed, match="tid"):
            await engine.append([stored(tid(5), after=engine.last)])
        await commit(engine, [stored(tid(6), after=engine.last)])
        assert engine.commit_tid == tid(6)

    tell(tmp_path, story)


def test_an_entry_that_turns_out_to_be_older_than_the_copy_it_follows_stops_the_node(tmp_path):
    """While a copy comes in nobody knows yet how high its tids are."""
    row = log({1: b"x"}, first=50)

    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        await commit(engine, row)
        rows = {
            name: list(engine.open_export().read(name, b"", 10**6)) for name in ("objects", "transactions", "commits")
        }
        await engine.begin_import(row[0].point, "cluster", "history")
        for name, found in rows.items():
            await engine.import_rows(name, found)
        await engine.append([stored(tid(20), after=engine.last)])
        await engine.end_import(1)
        with pytest.raises(errors.Damaged, match="tid"):
            engine.commit(2)
        assert [type(error) for error in failures] == [errors.Damaged]

    tell(tmp_path, story)


def test_after_a_copy_tids_grow_from_where_it_ended(tmp_path):
    row = log({1: b"x"}, first=50)

    async def story(engine):
        await commit(engine, row)
        rows = {
            name: list(engine.open_export().read(name, b"", 10**6)) for name in ("objects", "transactions", "commits")
        }
        await engine.begin_import(row[0].point, "cluster", "history")
        for name, found in rows.items():
            await engine.import_rows(name, found)
        await engine.end_import(1)
        with pytest.raises(Malformed, match="tid"):
            await engine.append([stored(tid(20), after=engine.last)])
        with applying_held(engine):
            await commit(engine, [stored(tid(51), after=engine.last)], applied=False)
        assert engine.commit_tid == tid(51)

    tell(tmp_path, story)
