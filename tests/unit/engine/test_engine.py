from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from springtide import errors
from springtide.engine import Engine, EngineOptions, Result, read_log
from springtide.engine.state import State
from springtide.records import entries
from springtide.records.entries import Entry, EpochStart, Kind, Malformed, OidRange
from springtide.records.ids import TID_MAX, TID_ZERO, oid, tid
from springtide.records.position import ORIGIN
from tests.unit.engine.disk import (
    SMALL,
    CountingFiles,
    FailingFiles,
    applying_held,
    commit,
    id_of,
    log,
    opened,
    tell,
    transaction,
)

THREE = log({1: b"a1", 2: b"b1"}, {1: b"a2"}, {3: b"c1"})


def test_what_is_appended_is_durable_and_not_yet_visible(tmp_path):
    async def story(engine):
        await engine.append(THREE)

        assert engine.last == THREE[-1].point
        assert engine.durable == 3
        assert (engine.commit_lsn, engine.commit_tid) == (0, TID_ZERO)
        assert engine.load_before(oid(1), TID_MAX).result is Result.UNKNOWN
        assert engine.outcome(id_of(1)) is None

    tell(tmp_path, story)


def test_the_end_of_the_log_moves_at_the_call_and_the_durable_point_when_it_is_synced(tmp_path):
    async def story(engine):
        appending = [asyncio.ensure_future(engine.append([entry])) for entry in THREE]
        await asyncio.sleep(0)
        assert engine.last == THREE[-1].point
        assert await engine.read(0, 10_000) == tuple(THREE)
        await asyncio.gather(*appending)
        assert engine.durable == 3

    tell(tmp_path, story)


def test_what_waits_together_is_synced_together(tmp_path):
    files = CountingFiles()
    many = log(*[{1: b"x"}] * 200)

    async def story(engine):
        before = files.syncs
        await asyncio.gather(*(engine.append([entry]) for entry in many))
        assert files.syncs - before < 20
        assert engine.durable == 200

    tell(tmp_path, story, replace(SMALL, segment_bytes=1_000_000), files)


def test_what_is_committed_is_visible_at_once_and_told(tmp_path):
    async def story(engine):
        await engine.append(THREE)
        with applying_held(engine):
            committed = engine.commit(2)
            assert [(c.lsn, c.epoch, c.kind) for c in committed] == [(1, 1, Kind.TRANSACTION), (2, 1, Kind.TRANSACTION)]
            assert committed[0].transaction == transaction(1, {1: b"a1", 2: b"b1"})
            assert (engine.commit_lsn, engine.commit_tid, engine.applied) == (2, tid(2), 0)
            assert engine.load_before(oid(1), TID_MAX).data == b"a2"
            assert engine.load_before(oid(3), TID_MAX).result is Result.UNKNOWN
            assert engine.overlay_bytes == sum(len(entry.body) for entry in THREE[:2])
        await engine.until_applied(2)
        assert (engine.applied, engine.overlay_bytes) == (2, 0)
        assert engine.load_before(oid(1), TID_MAX).data == b"a2"
        assert engine.commit(2) == []

    tell(tmp_path, story)


def test_after_a_restart_only_what_was_applied_is_known_to_be_committed(tmp_path):
    async def first(engine):
        await commit(engine, THREE[:2])
        await engine.append(THREE[2:])

    async def second(engine):
        assert (engine.last, engine.durable, engine.commit_lsn, engine.applied) == (THREE[2].point, 3, 2, 2)
        assert engine.commit_tid == tid(2)
        assert engine.load_before(oid(3), TID_MAX).result is Result.UNKNOWN
        (committed,) = engine.commit(3)
        assert committed.transaction == transaction(3, {3: b"c1"})
        assert engine.load_before(oid(3), TID_MAX).data == b"c1"

    tell(tmp_path, first)
    tell(tmp_path, second)


def test_the_highest_oid_counts_stored_and_handed_out_ones(tmp_path):
    handed = entries.following(THREE[-1].point, 1, Kind.OIDS, entries.encode_oid_range(OidRange(100, 50)))

    async def first(engine):
        await commit(engine, THREE)
        assert engine.last_oid == 3
        await engine.append([handed])
        assert engine.last_oid == 3
        await commit(engine, log({7: b"x"}, after=handed.point))
        assert engine.last_oid == 149

    async def second(engine):
        assert engine.last_oid == 149

    tell(tmp_path, first)
    tell(tmp_path, second)


@pytest.mark.parametrize(("kind", "body"), [(Kind.TRANSACTION, b"short"), (Kind.OIDS, b"?"), (Kind.EPOCH, b"\xff")])
def test_a_malformed_entry_and_what_follows_it_is_refused_before_anything_is_written(tmp_path, kind, body):
    bad = entries.following(THREE[0].point, 1, kind, body)
    after = log({9: b"x"}, after=bad.point)

    async def story(engine):
        good, *refused = await asyncio.gather(
            engine.append(THREE[:1]), engine.append([bad]), engine.append(after), return_exceptions=True
        )
        assert good is None
        assert [type(error) for error in refused] == [Malformed, Malformed]
        assert (engine.last, engine.durable) == (THREE[0].point, 1)
        await commit(engine, THREE[1:])
        assert engine.load_before(oid(1), TID_MAX).data == b"a2"

    tell(tmp_path, story)
    tell(tmp_path, story_of_last(THREE[-1]))


def story_of_last(entry: Entry):
    async def story(engine):
        assert engine.last == entry.point

    return story


def test_a_tail_is_cut_and_another_one_goes_on(tmp_path):
    other = log({1: b"other"}, after=THREE[0].point, epoch=2)

    async def story(engine):
        await commit(engine, THREE[:1])
        await engine.append(THREE[1:])

        aside = await engine.cut(THREE[0].point)

        assert aside is not None
        assert list(read_log(aside)) == THREE[1:]
        assert engine.diverged() == [aside.name]
        assert (engine.last, engine.durable) == (THREE[0].point, 1)
        assert engine.point(2) is None
        await commit(engine, other)
        assert engine.load_before(oid(1), TID_MAX).data == b"other"

    tell(tmp_path, story)
    tell(tmp_path, story_of_last(other[-1]))


def test_a_cut_whose_caller_is_cancelled_is_made_all_the_same(tmp_path):
    other = log({1: b"other"}, after=THREE[0].point, epoch=2)

    async def story(engine):
        await commit(engine, THREE[:1])
        await engine.append(THREE[1:])
        cutting = asyncio.ensure_future(engine.cut(THREE[0].point))
        await asyncio.sleep(0)
        cutting.cancel()
        await commit(engine, other)
        assert engine.last == other[-1].point

    tell(tmp_path, story)
    tell(tmp_path, story_of_last(other[-1]))


def test_committed_entries_are_never_cut(tmp_path):
    async def story(engine):
        await commit(engine, THREE)
        with pytest.raises(errors.Broken, match="would be cut"):
            await engine.cut(THREE[0].point)

    tell(tmp_path, story)


@pytest.mark.parametrize("call", ["write", "fdatasync"])
def test_a_failed_write_is_told_once_and_nothing_is_appended_after_it(tmp_path, call):
    files = FailingFiles()

    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        await commit(engine, THREE[:1])
        files.fail_next(call, written=20)
        outcomes = await asyncio.gather(engine.append(THREE[1:2]), engine.append(THREE[2:]), return_exceptions=True)
        assert [type(error) for error in outcomes] == [errors.DiskFailed, errors.DiskFailed]
        for _ in range(3):
            with pytest.raises(errors.DiskFailed, match="writes no more after a failure"):
                await engine.append(log({1: b"x"}, after=engine.last))
        assert [type(error) for error in failures] == [errors.DiskFailed]
        assert engine.load_before(oid(1), TID_MAX).data == b"a1"

    tell(tmp_path, story, files=files)


def test_entries_are_read_from_memory_and_from_the_disk_alike(tmp_path):
    many = log(*[{1: b"x" * 50}] * 40)

    async def story(engine):
        await engine.append(many)
        for after in range(41):
            found: list[Entry] = []
            while part := await engine.read(after + len(found), 300):
                found += part
            assert found == many[after:]
            assert engine.point(after) == (many[after - 1].point if after else ORIGIN)

    tell(tmp_path, story, replace(SMALL, recent_bytes_max=1_000))


def test_the_log_is_trimmed_while_it_grows_and_still_opens(tmp_path):
    many = log(*[{1: b"x" * 100}] * 100)

    async def first(engine):
        for entry in many:
            await commit(engine, [entry])
        assert engine.oldest.lsn > 50

    async def second(engine):
        assert engine.oldest.lsn > 50
        assert engine.point(engine.oldest.lsn) == many[engine.oldest.lsn - 1].point
        assert (engine.last, engine.commit_lsn) == (many[-1].point, 100)

    tell(tmp_path, first, replace(SMALL, log_retention_bytes=3_000))
    tell(tmp_path, second)


def test_a_large_transaction_is_applied_in_slices(tmp_path):
    large = log({n: b"%d" % n for n in range(2_000)}, {5: b"later"})

    async def first(engine):
        await engine.append(large)
        with applying_held(engine):
            engine.commit(2)
            assert engine.load_before(oid(5), TID_MAX).data == b"later"
            assert engine.load_before(oid(5), tid(2)).data == b"5"
            assert engine.load_before(oid(1_999), TID_MAX).data == b"1999"
        await engine.until_applied(2)
        await second(engine)

    async def second(engine):
        assert engine.object_count() == 2_000
        assert engine.load_before(oid(5), TID_MAX).data == b"later"
        assert engine.load_before(oid(1_999), TID_MAX)[1:4] == (b"1999", tid(1), None)

    tell(tmp_path, first, replace(SMALL, slice_writes=300))
    tell(tmp_path, second)


def test_a_transaction_that_was_being_applied_when_the_node_died_is_committed_as_a_whole(tmp_path):
    large = log({1: b"before"}, {n: b"%d" % n for n in range(100)}, {5: b"not committed"})

    async def first(engine):
        await commit(engine, large[:1])
        await engine.append(large[1:])

    async def second(engine):
        assert engine.commit_lsn == 2
        assert engine.load_before(oid(99), TID_MAX).data == b"99"
        assert engine.load_before(oid(5), TID_MAX).data == b"5"
        await engine.until_applied(2)
        assert engine.object_count() == 100

    tell(tmp_path, first)
    half_applied(tmp_path, large[1])
    tell(tmp_path, second)


def half_applied(tmp_path, entry):
    from springtide.engine.decoding import decode

    state = State(tmp_path / "state", "a", SMALL)
    state.apply_slice(decode(entry), 0, 50)
    state.close()


def test_deleted_objects_are_not_counted(tmp_path):
    async def story(engine):
        await commit(engine, log({1: b"x", 2: b"x", 3: b"x"}, {1: None, 2: b"y"}, {1: None}, {1: b"again", 3: None}))
        assert engine.object_count() == 2

    tell(tmp_path, story)


def test_an_epoch_start_is_told_and_moves_no_tid(tmp_path):
    start = entries.following(ORIGIN, 3, Kind.EPOCH, entries.encode_epoch_start(EpochStart("a", "u")))

    async def story(engine):
        await engine.append([start])
        (committed,) = engine.commit(1)
        assert (committed.kind, committed.epoch, committed.transaction) == (Kind.EPOCH, 3, None)
        assert engine.commit_tid == TID_ZERO

    tell(tmp_path, story)


def test_a_log_that_ends_before_what_was_applied_is_damage(tmp_path):
    tell(tmp_path, lambda engine: commit(engine, THREE))
    for path in (tmp_path / "log").iterdir():
        path.unlink()

    with pytest.raises(errors.Damaged, match="ends at lsn 0, but lsn 3 was applied"):
        Engine.open(tmp_path, "a", SMALL)


def test_a_log_of_another_history_than_the_state_is_damage(tmp_path):
    tell(tmp_path / "one", lambda engine: commit(engine, THREE))
    tell(tmp_path / "two", lambda engine: engine.append(log({1: b"z"}, {2: b"z"}, {3: b"z"})))
    for path in (tmp_path / "one" / "log").iterdir():
        path.unlink()
    for path in (tmp_path / "two" / "log").iterdir():
        path.rename(tmp_path / "one" / "log" / path.name)

    with pytest.raises(errors.Damaged, match="another entry at lsn 3"):
        Engine.open(tmp_path / "one", "a", SMALL)


def test_until_applied_ends_with_an_error_when_the_engine_closes(tmp_path):
    async def whole():
        async with opened(tmp_path) as engine:
            waiting = asyncio.ensure_future(engine.until_applied(1))
            await asyncio.sleep(0)
        with pytest.raises(errors.Stopping):
            await waiting

    asyncio.run(whole())


def test_the_free_space_is_told(tmp_path):
    async def story(engine):
        assert engine.headroom_bytes() > 0
        assert engine.size_bytes() > 0

    tell(tmp_path, story, EngineOptions())


def test_a_record_of_many_megabytes_is_read_as_it_was_written(tmp_path):
    data = b"0123456789abcdef" * (4 * 1024 * 1024)

    async def story(engine):
        await commit(engine, log({1: data}))
        assert engine.load_before(oid(1), TID_MAX).data == data

    tell(tmp_path, story)
