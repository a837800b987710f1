"""A state is closed, or gives way to another one, while other threads read it."""

from __future__ import annotations

import asyncio
import threading

import pytest

from springtide import errors
from springtide.engine import TABLES, Engine, Result, layout, reader
from springtide.records.ids import TID_MAX, TID_ZERO, oid, tid
from tests.unit.engine.disk import SMALL, commit, id_of, log, opened, tell
from tests.unit.engine.test_snapshots import TEN, same

GONE = (errors.Stopping, errors.NotCaughtUp)


class Held:
    """Readers of records stop inside the state until they are let go."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.inside, self.go_on = threading.Event(), threading.Event()
        decode = layout.decode_record

        def held(key, value):
            self.inside.set()
            assert self.go_on.wait(60)
            return decode(key, value)

        monkeypatch.setattr(layout, "decode_record", held)


async def until_it_stops(engine) -> None:
    async with asyncio.timeout(60):
        while True:
            try:
                engine.outcome(id_of(1))
            except errors.Stopping:
                return
            await asyncio.sleep(0)


@pytest.mark.parametrize("how", ["begin_import", "close"])
def test_a_state_is_not_closed_under_a_reader(tmp_path, monkeypatch, how):
    held = Held(monkeypatch)

    async def whole():
        engine = Engine.open(tmp_path, "a", SMALL)
        engine.start(asyncio.get_running_loop())
        await commit(engine, TEN)
        reading = asyncio.ensure_future(asyncio.to_thread(engine.load_before, oid(19), TID_MAX))
        await asyncio.to_thread(held.inside.wait, 60)
        ending = asyncio.ensure_future(
            engine.close() if how == "close" else engine.begin_import(TEN[0].point, "cluster", "history")
        )
        await until_it_stops(engine)
        assert not ending.done()
        held.go_on.set()
        assert (await reading).data == b"new"
        await ending
        if how == "begin_import":
            await engine.close()

    asyncio.run(whole())


def test_no_reader_ever_sees_half_of_an_exchange(tmp_path):
    """Other threads read everything that can be read while the state gives way to an empty one."""
    wrong: list[object] = []
    done = threading.Event()

    def look(engine) -> None:
        while not done.is_set():
            for ask in (
                lambda: engine.load_before(oid(19), TID_MAX).result is Result.FOUND,
                lambda: engine.load_serial(oid(19), tid(10)).result is Result.FOUND,
                lambda: engine.current(oid(19)) == tid(10),
                lambda: engine.outcome(id_of(10)) == tid(10),
                lambda: len(list(engine.changed_since(TID_ZERO))) == 10,
                lambda: sum(len(list(t.writes)) for t in engine.transactions()) == 20,
                lambda: sum(one.records for one in engine.digests(TID_MAX)) == 20,
            ):
                try:
                    if not ask():
                        wrong.append(ask)
                except GONE:
                    pass
                except Exception as error:
                    wrong.append(error)

    async def whole():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, TEN)
            await commit(target, TEN)
            rows = {name: list(source.open_export().read(name, b"", 10**6)) for name in TABLES}
            lookers = [threading.Thread(target=look, args=(target,)) for _ in range(3)]
            for looker in lookers:
                looker.start()
            try:
                for _ in range(5):
                    await target.begin_import(TEN[-1].point, "cluster", "history")
                    for name in TABLES:
                        await target.import_rows(name, rows[name])
                    await target.end_import(10)
            finally:
                done.set()
                for looker in lookers:
                    await asyncio.to_thread(looker.join)
            assert wrong == []
            same(source, target)

    asyncio.run(whole())


READS = {
    "load_before": lambda engine: engine.load_before(oid(19), TID_MAX),
    "load_serial": lambda engine: engine.load_serial(oid(19), tid(10)),
    "current": lambda engine: engine.current(oid(19)),
    "outcome": lambda engine: engine.outcome(id_of(10)),
    "changed_since": lambda engine: list(engine.changed_since(TID_ZERO)),
    "transactions": lambda engine: list(engine.transactions()),
    "digests": lambda engine: list(engine.digests(TID_MAX)),
    "an export": lambda engine: engine.open_export().read("objects", b"", 1),
}


@pytest.mark.parametrize("name", READS)
def test_a_read_that_began_before_the_exchange_and_looks_after_it_is_told_so(tmp_path, monkeypatch, name):
    """Never that there is no such object, or that a transaction was not committed."""

    async def story(engine):
        await commit(engine, TEN)
        loop, whole = asyncio.get_running_loop(), engine._whole

        def overtaken():
            state = whole()
            beginning = engine.begin_import(TEN[-1].point, "cluster", "history")
            asyncio.run_coroutine_threadsafe(beginning, loop).result(60)
            return state

        monkeypatch.setattr(engine, "_whole", overtaken)
        with pytest.raises(GONE):
            await asyncio.to_thread(READS[name], engine)

    tell(tmp_path, story)


ITERATIONS = {
    "changed_since": lambda engine: engine.changed_since(TID_ZERO),
    "transactions": lambda engine: engine.transactions(),
    "digests": lambda engine: engine.digests(TID_MAX, range_records=1),
    "writes": lambda engine: iter(next(engine.transactions()).writes),
}


@pytest.mark.parametrize("name", ITERATIONS)
def test_who_iterates_over_a_state_that_gives_way_is_told_so_and_sees_no_early_end(tmp_path, monkeypatch, name):
    from springtide.engine import digests

    monkeypatch.setattr(reader, "_ROWS_AT_ONCE", 1)
    monkeypatch.setattr(reader, "_WRITES_AT_ONCE", 1)
    monkeypatch.setattr(digests, "_ROWS_AT_ONCE", 1)

    async def story(engine):
        await commit(engine, TEN)
        iterating = ITERATIONS[name](engine)
        next(iterating)
        await engine.begin_import(TEN[-1].point, "cluster", "history")
        with pytest.raises(GONE):
            list(iterating)

    tell(tmp_path, story)


def test_a_state_that_lacks_rows_answers_nothing(tmp_path):
    async def story(engine):
        await commit(engine, TEN)
        await engine.begin_import(TEN[-1].point, "cluster", "history")
        for ask in (
            lambda: engine.load_before(oid(1), TID_MAX),
            lambda: engine.load_serial(oid(1), tid(2)),
            lambda: engine.current(oid(1)),
            lambda: engine.outcome(id_of(1)),
            lambda: list(engine.changed_since(TID_ZERO)),
            lambda: list(engine.transactions()),
            lambda: list(engine.digests(TID_MAX)),
        ):
            with pytest.raises(errors.NotCaughtUp):
                ask()

    tell(tmp_path, story)


# -- what a snapshot is read from -------------------------------------------------------------------


def read_whole(export, bytes_max: int = 100):
    rows = {}
    for name in TABLES:
        rows[name], after = [], b""
        while found := export.read(name, after, bytes_max):
            rows[name] += found
            after = found[-1][0]
    return rows


def test_an_export_reads_what_the_state_holds(tmp_path):
    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            await commit(source, TEN)
            export = source.open_export()
            assert (export.base, export.objects, export.applied()) == (TEN[-1].point, source.object_count(), 10)
            rows = await asyncio.to_thread(read_whole, export)
            await target.begin_import(export.base, "cluster", "history")
            for name in TABLES:
                await target.import_rows(name, rows[name])
            await target.end_import(export.applied())
            same(source, target)

    asyncio.run(story())


def test_an_export_says_how_far_its_rows_may_reach(tmp_path):
    """Also into a transaction that is being applied in slices."""
    from springtide.engine.decoding import decode

    large = log({n: b"%d" % n for n in range(100)}, after=TEN[-1].point)

    async def story(engine):
        await commit(engine, TEN[:5])
        export = engine.open_export()
        await commit(engine, TEN[5:])
        assert (export.base, export.applied()) == (TEN[4].point, 10)
        await engine._applier.call(lambda state: state.apply_slice(decode(large[0]), 0, 50))
        assert export.applied() == 11

    tell(tmp_path, story)


def test_a_source_that_begins_anew_itself_ends_its_exports(tmp_path):
    async def story(engine):
        await commit(engine, TEN)
        export = engine.open_export()
        assert export.read("objects", b"", 1)
        await engine.begin_import(TEN[-1].point, "cluster", "history")
        for table in TABLES:
            with pytest.raises(errors.Stopping):
                export.read(table, b"", 10**6)
        with pytest.raises(errors.Stopping):
            export.applied()
        with pytest.raises(errors.NotCaughtUp):
            engine.open_export()

    tell(tmp_path, story)


def test_an_export_of_a_table_that_no_snapshot_has_is_a_bad_request(tmp_path):
    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        with pytest.raises(errors.BadRequest):
            engine.open_export().read("secrets", b"", 1)
        await engine.append(TEN)
        assert failures == []

    tell(tmp_path, story, SMALL)
