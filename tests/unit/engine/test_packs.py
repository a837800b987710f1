"""How the entries of a pack change what is stored."""

from __future__ import annotations

import asyncio

import pytest

from springtide.engine import Engine, Result, layout
from springtide.records import entries
from springtide.records.entries import Entry, Kind, Transaction, Write
from springtide.records.ids import OID_ZERO, TID_MAX, oid, tid
from springtide.records.packs import Pack, PackBegin, PackEnd, PackStep, encode_pack
from springtide.records.position import Point
from tests.unit.engine.disk import commit, id_of, log, oids, opened, tell
from tests.unit.engine.test_snapshots import copy

ROOT = OID_ZERO
#: Object 0 changes in 1 and 4, object 1 in 1 to 3, object 2 is made in 2 and deleted in 3; 5 is later.
FIVE = log({0: b"r1", 1: b"a1"}, {1: b"a2", 2: b"b2"}, {1: b"a3", 2: None}, {0: b"r4"}, {3: b"c5"})
BEGIN, END = PackBegin(tid(4), True), PackEnd()
STEPS = (
    PackStep(((tid(1), oids(0, 1)),)),
    PackStep(((tid(2), oids(1, 2)), (tid(3), oids(2)))),
)
WHOLE = (BEGIN, *STEPS, END)


def packs(*said: Pack, after: Point = FIVE[-1].point) -> list[Entry]:
    made: list[Entry] = []
    for pack in said:
        previous = made[-1].point if made else after
        made.append(entries.following(previous, 1, Kind.PACK, encode_pack(pack)))
    return made


def rows(engine: Engine) -> dict[str, list[tuple[bytes, bytes]]]:
    """Everything but what is said of the log."""
    return {table: engine.state.rows(table, b"", 10**9) for table in ("objects", "transactions", "commits", "gone")}


def test_a_pack_takes_away_what_it_names_and_nothing_else(tmp_path):
    async def story(engine):
        await commit(engine, [*FIVE, *packs(*WHOLE)])

        left = [(key[:8], key[8:]) for key, _ in rows(engine)["objects"]]
        assert left == [(ROOT, tid(4)), (oid(1), tid(3)), (oid(3), tid(5))]
        assert engine.load_before(oid(2), TID_MAX).result is Result.UNKNOWN
        assert engine.load_before(oid(1), TID_MAX)[:3] == (Result.FOUND, b"a3", tid(3))
        assert engine.object_count() == 3
        assert engine.packed == tid(4)
        assert engine.packing is None
        assert [engine.outcome(id_of(n)) for n in range(1, 6)] == [tid(n) for n in range(1, 6)]

    tell(tmp_path, story)


def test_what_is_left_of_packed_transactions_is_iterated_with_their_status(tmp_path):
    async def story(engine):
        await commit(engine, [*FIVE, *packs(*WHOLE)])

        seen = [(t.tid, t.status, [(w.oid, w.data) for w in t.writes]) for t in engine.transactions()]
        assert seen == [
            (tid(3), b"p", [(oid(1), b"a3")]),
            (tid(4), b"p", [(ROOT, b"r4")]),
            (tid(5), b" ", [(oid(3), b"c5")]),
        ]
        assert next(iter(engine.changed_since(tid(0)))) == (tid(3), oids(1))

    tell(tmp_path, story)


@pytest.mark.parametrize("applied", range(len(WHOLE) + 1))
def test_what_is_packed_is_not_offered_for_undo_and_histories_show_what_is_left(tmp_path, applied):
    async def story(engine):
        await commit(engine, [*FIVE, *packs(*WHOLE)[:applied]])

        offered = [head.head.tid for head in engine.heads(TID_MAX, 9)]
        assert offered == [tid(5), *(tid(n) for n in (4, 3, 2, 1) if not applied)]
        left = {number: [head.head.tid for head in engine.history(oid(number), TID_MAX, 9)] for number in range(4)}
        gone = {
            (at, name)
            for pack in WHOLE[:applied]
            if isinstance(pack, PackStep)
            for at, of in pack.removed
            for name in of
        }
        for number, made in {0: (4, 1), 1: (3, 2, 1), 2: (3, 2), 3: (5,)}.items():
            assert left[number] == [tid(n) for n in made if (tid(n), oid(number)) not in gone]
        assert [each.oid for each in engine.current_records(ROOT, 10**6)[0]] == list(oids(0, 1, 3))

    tell(tmp_path, story)


@pytest.mark.parametrize("applied", range(len(WHOLE) + 1))
def test_a_pack_that_goes_on_after_a_restart_ends_as_if_nothing_had_happened(tmp_path, applied):
    made = packs(*WHOLE)

    async def first(engine):
        await commit(engine, [*FIVE, *made[:applied]])

    async def second(engine):
        assert engine.packing == (BEGIN if 0 < applied < len(WHOLE) else None)
        assert engine.packed == (BEGIN.tid if applied else tid(0))
        if made[applied:]:
            await commit(engine, made[applied:])
        found.append(rows(engine))

    async def uninterrupted(engine):
        await commit(engine, [*FIVE, *made])
        found.append(rows(engine))

    found: list[object] = []
    tell(tmp_path / "one", first)
    tell(tmp_path / "one", second)
    tell(tmp_path / "two", uninterrupted)
    assert found[0] == found[1]


LARGE = log(dict.fromkeys(range(6), b"x"), dict.fromkeys(range(5), b"y"))
#: Of the first transaction object 5 stays.
PARTS = (
    PackStep(((tid(1), oids(0, 1)),), goes_on=True),
    PackStep(((tid(1), oids(2)),), went_on=True, goes_on=True),
    PackStep(((tid(1), oids(3, 4)),), went_on=True),
)


def test_the_row_of_a_large_transaction_is_written_once_in_the_last_of_its_steps(tmp_path):
    async def story(engine):
        await commit(engine, LARGE)
        before = rows(engine)["transactions"]
        begin, *parts, end = packs(PackBegin(tid(2), True), *PARTS, END, after=LARGE[-1].point)

        await commit(engine, [begin, *parts[:2]])
        assert rows(engine)["transactions"] == before
        iterated = [(t.tid, [write.oid for write in t.writes]) for t in engine.transactions()]
        assert iterated[0] == (tid(1), list(oids(3, 4, 5)))  # though its row names what is gone

        await commit(engine, [parts[2], end])
        found.append(rows(engine))

    async def at_once(engine):
        step = PackStep(((tid(1), oids(0, 1, 2, 3, 4)),))
        await commit(engine, [*LARGE, *packs(PackBegin(tid(2), True), step, END, after=LARGE[-1].point)])
        found.append(rows(engine))

    found: list[object] = []
    tell(tmp_path / "one", story)
    tell(tmp_path / "two", at_once)
    assert found[0] == found[1]


def test_a_large_transaction_of_which_nothing_is_left_goes_with_its_last_step(tmp_path):
    async def story(engine):
        everything = PackStep(((tid(1), oids(3, 4, 5)),), went_on=True)
        await commit(
            engine, [*LARGE, *packs(PackBegin(tid(2), True), *PARTS[:2], everything, END, after=LARGE[-1].point)]
        )

        assert [key for key, _ in rows(engine)["transactions"]] == [tid(2)]

    tell(tmp_path, story)


def test_what_an_unfinished_pack_took_of_a_large_transaction_is_found_out_anew(tmp_path):
    async def story(engine):
        await commit(engine, [*LARGE, *packs(PackBegin(tid(2), True), PARTS[0], END, after=LARGE[-1].point)])
        again = PackStep(((tid(1), oids(0, 1, 2, 3, 4)),))
        await commit(engine, packs(PackBegin(tid(2), True), again, END, after=engine.last))

        assert next(iter(engine.changed_since(tid(0)))) == (tid(1), oids(5))

    tell(tmp_path, story)


def test_what_packs_have_taken_away_is_known_for_ever(tmp_path):
    begin, first, second, end = packs(*WHOLE)

    async def story(engine):
        await commit(engine, [*FIVE, begin, first])
        assert list(engine.gone_since(0)) == []
        await commit(engine, [second, end])
        assert list(engine.gone_since(0)) == [(second.lsn, oids(2))] == list(engine.gone_since(first.lsn))
        assert list(engine.gone_since(second.lsn)) == []
        assert engine.packs == end.lsn

    async def later(engine):
        assert list(engine.gone_since(0)) == [(second.lsn, oids(2))]

    tell(tmp_path, story)
    tell(tmp_path, later)


def test_steps_that_come_again_change_nothing(tmp_path):
    async def story(engine):
        await commit(engine, [*FIVE, *packs(*WHOLE)])
        once, count = rows(engine), engine.object_count()
        once.pop("gone")

        await commit(engine, packs(BEGIN, *reversed(STEPS), *STEPS, END, after=engine.last))

        assert {table: rows(engine)[table] for table in once} == once
        assert engine.object_count() == count

    async def of_a_large_transaction(engine):
        await commit(engine, [*LARGE, *packs(BEGIN, *PARTS, END, after=LARGE[-1].point)])
        once, count = rows(engine), engine.object_count()
        once.pop("gone")

        await commit(engine, packs(BEGIN, *PARTS, *PARTS[1:], END, after=engine.last))

        assert {table: rows(engine)[table] for table in once} == once
        assert engine.object_count() == count

    tell(tmp_path / "one", story)
    tell(tmp_path / "two", of_a_large_transaction)


def test_the_pack_point_never_falls(tmp_path):
    async def story(engine):
        await commit(engine, [*FIVE, *packs(BEGIN, END, PackBegin(tid(2), False), END)])

        assert engine.packed == tid(4)

    tell(tmp_path, story)


def test_nothing_is_deleted_below_a_revision_that_stays_without_readers_noticing(tmp_path):
    # Revision 1 of object 1 stays, because a later record repeats it; revision 2 goes.
    repeating = Transaction(tid(6), id_of(6), b"", b"", b"", (Write(oid(1), b"a1", data_tid=tid(1)),))
    undone = entries.following(FIVE[-1].point, 1, Kind.TRANSACTION, entries.encode_transaction(repeating))
    step = PackStep(((tid(2), oids(1, 2)), (tid(3), oids(2))))

    async def story(engine):
        await commit(engine, [*FIVE, undone, *packs(BEGIN, step, END, after=undone.point)])

        assert engine.load_before(oid(1), tid(3)).result is Result.NOT_YET  # not a1: then it was a2
        assert engine.load_serial(oid(1), tid(1))[:3] == (Result.FOUND, b"a1", tid(1))
        assert engine.load_before(oid(1), tid(4))[:3] == (Result.FOUND, b"a3", tid(3))
        assert [w.data_tid for t in engine.transactions(tid(6)) for w in t.writes] == [tid(1)]

    tell(tmp_path, story)


def test_records_of_packed_transactions_repeat_nothing_any_more(tmp_path):
    repeating = Transaction(tid(6), id_of(6), b"", b"", b"", (Write(oid(1), b"a1", data_tid=tid(1)),))
    undone = entries.following(FIVE[-1].point, 1, Kind.TRANSACTION, entries.encode_transaction(repeating))
    step = PackStep(((tid(1), oids(0, 1)), (tid(2), oids(1, 2)), (tid(3), oids(1, 2))))

    async def story(engine):
        await commit(engine, [*FIVE, undone, *packs(PackBegin(tid(6), False), step, END, after=undone.point)])

        assert [w.data_tid for t in engine.transactions(tid(6)) for w in t.writes] == [None]

    tell(tmp_path, story)


def test_a_record_that_went_while_it_was_iterated_is_no_damage(tmp_path):
    async def story(engine):
        await commit(engine, FIVE)
        iterated = engine.transactions()
        first = next(iterated)

        await commit(engine, packs(*WHOLE))

        assert list(first.writes) == []
        assert [t.tid for t in iterated][-1] == tid(5)

    tell(tmp_path, story)


def test_how_far_tids_have_come_is_known_after_everything_was_packed_away(tmp_path):
    gone = log({1: b"a"}, {1: None})
    whole = packs(PackBegin(tid(2), True), PackStep(((tid(1), oids(1)), (tid(2), oids(1)))), END, after=gone[-1].point)

    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, [*gone, *whole])

            await copy(source, target)

            assert rows(target) == rows(source)
            assert target.commit_tid == source.commit_tid == tid(2)
            assert list(source.transactions()) == list(target.transactions()) == []

    asyncio.run(story())


@pytest.mark.parametrize("at", range(12))
def test_a_copy_that_is_taken_while_a_pack_is_at_work_is_the_same_in_the_end(tmp_path, at):
    made = packs(*WHOLE)

    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, FIVE)
            steps = 0

            async def between():
                nonlocal steps
                steps += 1
                if steps > at and source.commit_lsn < made[-1].lsn:
                    await commit(source, [made[source.commit_lsn - FIVE[-1].lsn]])

            base = await copy(source, target, bytes_max=1, between=between)
            if source.commit_lsn < made[-1].lsn:
                await commit(source, made[source.commit_lsn - FIVE[-1].lsn :])
            await commit(target, list(await source.read(base, 10**9)))

            assert rows(target) == rows(source)
            assert (target.packed, target.packing) == (source.packed, source.packing) == (tid(4), None)
            assert target.object_count() == source.object_count()

    asyncio.run(story())


def test_an_unfinished_pack_travels_with_a_copy(tmp_path):
    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, [*FIVE, *packs(BEGIN, STEPS[0])])

            await copy(source, target)

            assert (target.packed, target.packing) == (tid(4), BEGIN)

    asyncio.run(story())


def test_a_damaged_pack_is_refused_before_it_is_written(tmp_path):
    async def story(engine):
        with pytest.raises(entries.Malformed):
            await engine.append([entries.following(engine.last, 1, Kind.PACK, b"nonsense")])

    tell(tmp_path, story)


def test_a_gap_leaves_the_record_whole(tmp_path):
    async def story(engine):
        await commit(engine, [*FIVE, *packs(BEGIN, PackStep(((tid(2), oids(1)),)))])

        key, value = engine.state.rows("objects", oid(1) + tid(1), 1)[0]
        assert value[layout.FLAGS_AT] & layout.GAP
        assert layout.decode_record(key, value) == Write(oid(1), b"a1")

    tell(tmp_path, story)


def test_who_asks_is_told_of_each_step_which_objects_are_gone_and_when_it_ends_what_is_no_history(tmp_path):
    told = []

    async def story(engine):
        assert engine.packs == 0
        engine.on_swept = lambda swept: told.append((swept.packs, engine.packs, list(swept.gone), swept.superseded))
        made = packs(*WHOLE)

        await commit(engine, [*FIVE, *made[:2]])
        await commit(engine, made[2:3])
        await commit(engine, made[3:])

        first, second, third = (made[n].lsn for n in (1, 2, 3))
        assert told == [(first, first, [], None), (second, second, [oid(2)], None), (third, third, [], BEGIN.tid)]
        assert engine.packs == third

    tell(tmp_path, story)
