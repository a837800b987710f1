from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from springtide.engine import TABLES, Engine, Import, Result, layout, read_log
from springtide.engine.files import Files
from springtide.engine.state import State
from springtide.records import entries
from springtide.records.entries import Kind, Malformed, OidRange, Write
from springtide.records.ids import TID_MAX, oid, tid
from springtide.records.position import ORIGIN
from tests.unit.engine.disk import SMALL, commit, log, opened, tell

TEN = log(*[{n % 4: b"%d" % n, 10 + n: b"new"} for n in range(10)])


async def copy(source: Engine, target: Engine, bytes_max: int = 200, between=None) -> int:
    """All that ``source`` exports, as the replication service and a follower do it."""
    base = source.open_export().base
    await target.begin_import(base, "cluster", "history")
    await copy_rest(source, target, bytes_max, between)
    return base.lsn


async def copy_rest(
    source: Engine, target: Engine, bytes_max: int = 200, between=None, stop_after: int = 10**9
) -> None:
    for table in TABLES[TABLES.index(target.importing.table) :]:
        after = target.importing.after if table == target.importing.table else b""
        while rows := source.open_export().read(table, after, bytes_max):
            await target.import_rows(table, rows)
            after = rows[-1][0]
            stop_after -= 1
            if stop_after == 0:
                return
            if between is not None:
                await between()
    await target.end_import(source.applied)


def same(one: Engine, other: Engine) -> None:
    assert list(one.digests(TID_MAX)) == list(other.digests(TID_MAX))
    assert list(one.digests(TID_MAX, transactions=True)) == list(other.digests(TID_MAX, transactions=True))
    assert one.object_count() == other.object_count()
    assert one.commit_tid == other.commit_tid
    assert one.last_oid == other.last_oid
    for t in one.transactions():
        assert other.outcome(t.id) == t.tid


def test_a_quiet_state_is_copied_whole(tmp_path):
    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            handed = entries.following(TEN[-1].point, 1, Kind.OIDS, entries.encode_oid_range(OidRange(500, 9)))
            await commit(source, [*TEN, handed])

            await copy(source, target)

            assert target.complete
            assert target.importing is None
            assert (target.last, target.oldest, target.durable) == (handed.point, handed.point, handed.lsn)
            assert (target.identity.cluster, target.identity.history) == ("cluster", "history")
            same(source, target)

        async with opened(tmp_path / "two", node="b") as target, opened(tmp_path / "one") as source:
            assert target.complete
            same(source, target)
            await commit(target, log({1: b"on"}, after=target.last, first=11))
            assert target.load_before(oid(1), TID_MAX).data == b"on"

    asyncio.run(story())


def test_a_state_that_changes_meanwhile_is_whole_when_all_of_it_is_applied(tmp_path):
    more = log(*[{n % 5: b"%d" % n, 100 + n: b"later"} for n in range(30)], {2: None}, after=TEN[-1].point)

    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, TEN)
            coming = iter(more)

            async def one_more():
                entry = next(coming, None)
                if entry is not None:
                    await commit(source, [entry])

            base = await copy(source, target, between=one_more)
            for entry in coming:
                await commit(source, [entry])

            assert not target.complete
            since = await source.read(base, 10**6)
            await target.append(since)
            await commit_slowly(target)
            assert target.complete
            same(source, target)

    asyncio.run(story())


async def commit_slowly(engine):
    for lsn in range(engine.commit_lsn + 1, engine.durable + 1):
        engine.commit(lsn)
        await engine.until_applied(lsn)


def test_entries_may_be_applied_while_rows_still_come(tmp_path):
    more = log(*[{n % 5: b"%d" % n} for n in range(10)], after=TEN[-1].point)

    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, TEN)
            coming = iter(more)

            async def one_more_on_both():
                entry = next(coming, None)
                if entry is not None:
                    await commit(source, [entry])
                    await commit(target, [entry])
                    assert not target.complete

            await copy(source, target, between=one_more_on_both)
            assert target.complete
            same(source, target)

    asyncio.run(story())


def test_a_copy_goes_on_where_it_was_interrupted(tmp_path):
    async def story():
        async with opened(tmp_path / "one") as source:
            await commit(source, TEN)
            async with opened(tmp_path / "two", node="b") as target:
                begun = source.open_export()
                base, objects = begun.base, begun.objects
                assert objects == source.object_count()
                await target.begin_import(base, "cluster", "history")
                assert target.importing == Import(base, "objects", b"")
                await copy_rest(source, target, stop_after=4)
            async with opened(tmp_path / "two", node="b") as target:
                importing = target.importing
                assert importing is not None and importing.after != b""
                assert (target.complete, target.last) == (False, base)
                await copy_rest(source, target)
                assert target.complete
                same(source, target)

    asyncio.run(story())


def test_what_was_not_committed_is_set_aside_before_the_log_is_emptied(tmp_path):
    mine = log({1: b"mine"}, {1: b"lost"}, {1: b"lost too"})

    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, TEN)
            await commit(target, mine[:1])
            await target.append(mine[1:])

            await copy(source, target)

            (name,) = target.diverged()
            assert list(read_log(tmp_path / "two" / "diverged" / name)) == mine[1:]
            same(source, target)

    asyncio.run(story())


def test_a_node_that_died_while_it_emptied_itself_finishes_that_when_it_starts(tmp_path):
    """At every write to the disk that emptying makes."""

    class Dying(Files):
        left = 10**9

        def sync_directory(self, path):
            if self.left == 0:
                raise OSError("died")
            self.left -= 1
            super().sync_directory(path)

    async def run(steps: int) -> bool:
        directory, files = tmp_path / str(steps), Dying()
        base = TEN[-1].point
        async with opened(directory, files=files) as engine:
            await commit(engine, log({1: b"old"}, {1: b"older"}))
            files.left = steps
            try:
                await engine.begin_import(base, "cluster", "history")
                died = False
            except Exception:
                died = True
            files.left = 10**9
        async with opened(directory) as engine:
            old = engine.importing is None
            assert engine.last == (log({1: b"old"}, {1: b"older"})[-1].point if old else base)
            assert engine.complete is old
            assert died or not old
            assert engine.object_count() == (1 if old else 0)
            assert engine.identity.cluster == ("" if old else "cluster")
        return died

    steps = 0
    while asyncio.run(run(steps)):
        steps += 1
    assert steps > 3


def test_damaged_rows_are_refused_and_the_copy_can_go_on(tmp_path):
    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, TEN)
            base = source.open_export().base
            await target.begin_import(base, "cluster", "history")
            ((key, value), *_) = source.open_export().read("objects", b"", 1)
            with pytest.raises(Malformed, match="arrived damaged"):
                await target.import_rows("objects", [(key, value[:-1] + b"?")])
            await copy_rest(source, target)
            same(source, target)

    asyncio.run(story())


WHOLE = layout.encode_record(oid(1) + tid(1), Write(oid(1), b"x"))


def sealed(key: bytes, payload: bytes) -> tuple[bytes, bytes]:
    return key, layout.seal(key, payload)


NO_ROWS = {
    "an oid too high": ("objects", sealed(oid(2**63) + tid(1), WHOLE[4:])),
    "a tid too high": ("objects", sealed(oid(1) + TID_MAX, WHOLE[4:])),
    "a record without its head": ("objects", sealed(oid(1) + tid(1), b"")),
    "a key too short": ("objects", sealed(oid(1), WHOLE[4:])),
    "a transaction at the last tid": ("transactions", sealed(TID_MAX, bytes(200))),
    "a transaction too short": ("transactions", sealed(tid(1), bytes(8))),
    "an outcome that is no tid": ("commits", sealed(bytes(24), b"no")),
    "an outcome at tid zero": ("commits", sealed(bytes(24), bytes(8))),
    "a highest oid too high": ("meta", sealed(b"last_oid", oid(2**63))),
    "a highest oid too long": ("meta", sealed(b"last_oid", b"\xff" * 9)),
}


@pytest.mark.parametrize(("table", "row"), NO_ROWS.values(), ids=NO_ROWS)
def test_rows_that_no_node_can_have_applied_are_refused_and_the_copy_can_go_on(tmp_path, table, row):
    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            failures = []
            target.on_failure = failures.append
            await commit(source, TEN)
            base = source.open_export().base
            await target.begin_import(base, "cluster", "history")
            with pytest.raises(Malformed):
                await target.import_rows(table, [row])
            await copy_rest(source, target)
            same(source, target)
            assert failures == []

    asyncio.run(story())


def test_half_applied_entries_of_the_source_do_no_harm(tmp_path):
    from springtide.engine.decoding import decode

    large = log({n: b"%d" % n for n in range(100)}, after=TEN[-1].point)

    async def first(engine):
        await commit(engine, TEN)
        await engine.append(large)

    tell(tmp_path / "one", first)
    state = State(tmp_path / "one" / "state", "a", SMALL)
    state.apply_slice(decode(large[0]), 0, 50)
    state.close()

    async def story():
        async with opened(tmp_path / "two", node="b") as target:
            source = Engine.open(tmp_path / "one", "a", SMALL)
            await copy(source, target)
            assert (source.applied, target.last, target.commit_tid) == (10, TEN[-1].point, tid(10))
            assert target.load_before(oid(49), TID_MAX).result is Result.UNKNOWN
            source.start(asyncio.get_running_loop())
            await source.until_applied(11)
            await commit(target, large)
            same(source, target)
            await source.close()

    asyncio.run(story())


def test_an_empty_state_is_a_snapshot_too(tmp_path):
    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await copy(source, target)
            assert target.complete
            assert target.last == ORIGIN
            await commit(target, TEN)
            assert target.commit_tid == tid(10)

    asyncio.run(story())


def test_the_log_is_kept_while_a_copy_comes_in(tmp_path):
    async def story():
        options = replace(SMALL, log_retention_bytes=0)
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", options, node="b") as target:
            await commit(source, TEN)
            base = source.open_export().base
            await target.begin_import(base, "cluster", "history")
            for entry in log(*[{1: b"x" * 300}] * 10, after=base):
                await commit(target, [entry])
            assert target.oldest == base

    asyncio.run(story())
