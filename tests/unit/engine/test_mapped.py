"""Entries whose bodies are files: the engine does with them what it does with others, without reading them whole."""

from __future__ import annotations

import asyncio
import gc
import mmap
import os
import shutil
from dataclasses import replace

from springtide.engine import EngineOptions, layout
from springtide.engine.aside import read_log
from springtide.records import entries, packed
from springtide.records.entries import Entry, Kind, Transaction, Write
from springtide.records.ids import TID_MAX, oid, tid
from springtide.records.position import ORIGIN, Point
from springtide.spool import SPOOLED_FROM, FileSpool
from tests.unit.engine.disk import SMALL, applying_held, commit, id_of, log, opened, tell

RECORD = os.urandom(3 * 2**20)
COUNT = SPOOLED_FROM // len(RECORD) + 1
LARGE = Transaction(tid(2), id_of(2), b"u", b"d", b"", tuple(Write(oid(n), RECORD) for n in range(1, COUNT + 1)))
SLICED = EngineOptions(segment_bytes=600, probe=False, slice_bytes=len(RECORD) + 1)


def mapped(directory, transaction: Transaction, previous: Point) -> Entry:
    spool = FileSpool(directory)
    spool.write(entries.encode_transaction(transaction))
    return entries.following(previous, 1, Kind.TRANSACTION, spool.view())


def is_mapped(entry: Entry) -> bool:
    return isinstance(entry.body, memoryview) and isinstance(entry.body.obj, mmap.mmap)


def made(directory) -> list[Entry]:
    first = log({1: b"old", 99: b"beside"})
    large = mapped(directory, LARGE, first[-1].point)
    return [*first, large, *log({2: b"new"}, after=large.point)]


def check_reads(engine, count: int = COUNT) -> None:
    for number in range(1, count + 1):
        found = engine.load_before(oid(number), TID_MAX if number != 2 else tid(3))
        assert (found.data, found.tid) == (RECORD, tid(2))
    assert engine.load_before(oid(1), tid(2)).data == b"old"
    assert engine.load_before(oid(2), TID_MAX).data == b"new"
    assert engine.load_before(oid(99), TID_MAX).tid == tid(1)
    assert engine.current(oid(1)) == tid(2)
    assert [t for t, _ in engine.changed_since(tid(1))] == [tid(2), tid(3)]
    assert dict(engine.changed_since(tid(1)))[tid(2)] == tuple(oid(n) for n in range(1, count + 1))
    large = next(iter(engine.transactions(tid(2), tid(2))))
    assert (tuple(large.writes), large.user, large.id) == (LARGE.writes, b"u", id_of(2))


def test_a_mapped_transaction_is_read_from_the_overlay_and_applied_in_slices(tmp_path):
    async def story(engine) -> None:
        with applying_held(engine):
            await commit(engine, made(tmp_path), applied=False)
            assert engine.overlay_bytes < len(RECORD), "what is mapped takes no memory"
            check_reads(engine)
        await engine.until_applied(3)
        assert engine.overlay_bytes == 0
        check_reads(engine)
        assert engine.object_count() == COUNT + 1

    tell(tmp_path / "a", story, SLICED)


def test_a_large_entry_is_read_back_mapped_and_equal(tmp_path):
    written = made(tmp_path)

    async def story(engine) -> None:
        await commit(engine, written)
        engine._recent.reset(engine.last)  # as if it had happened long ago
        small, large, after = [(await engine.read(lsn, 2**20))[0] for lsn in range(3)]
        assert [small, large, after] == written
        assert [is_mapped(entry) for entry in (small, large, after)] == [False, True, False]
        assert entries.continues(small.point, large)

    tell(tmp_path / "a", story)


def test_a_large_entry_outlives_its_log(tmp_path):
    async def story(engine) -> None:
        first, large, _ = made(tmp_path)
        await commit(engine, [first])
        await engine.append([large])
        engine._recent.reset(engine.last)
        (read,) = await engine.read(1, 1)
        aside = await engine.cut(first.point)
        assert read == large and engine.last == first.point
        (kept,) = read_log(aside)
        assert kept == large and is_mapped(kept)

    tell(tmp_path / "a", story)


def test_a_node_that_stops_before_it_applied_a_large_entry_applies_it_after_its_start(tmp_path):
    written = made(tmp_path)

    async def whole() -> None:
        async with opened(tmp_path / "a") as engine:
            await engine.append(written)
        async with opened(tmp_path / "a") as engine:
            assert engine.last == written[-1].point
            assert is_mapped(engine._point._decoded[2].entry)
            engine.commit(3)
            check_reads(engine)

    asyncio.run(whole())


def test_a_large_entry_that_was_not_written_whole_is_cut_off(tmp_path):
    written = made(tmp_path)
    tell(tmp_path / "a", lambda engine: commit(engine, written), EngineOptions(probe=False))
    (segment,) = (tmp_path / "a" / "log").glob("*.log")
    for cut in (1, len(RECORD), len(written[1].body)):
        shutil.copytree(tmp_path / "a", tmp_path / "b")
        end = segment.stat().st_size - layout.FRAME_BYTES - len(written[2].body)
        os.truncate(tmp_path / "b" / "log" / segment.name, end - cut)
        shutil.rmtree(tmp_path / "b" / "state")

        async def story(engine) -> None:
            assert engine.last == written[0].point

        tell(tmp_path / "b", story)
        shutil.rmtree(tmp_path / "b")


def test_a_segment_too_large_for_memory_is_verified_and_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr("springtide.engine.segments.LARGE_BYTES", 1_000)
    written = made(tmp_path)

    async def whole() -> None:
        async with opened(tmp_path / "a", EngineOptions(probe=False)) as engine:
            await commit(engine, written)
        async with opened(tmp_path / "a", EngineOptions(probe=False)) as engine:
            assert engine.last == written[-1].point
            check_reads(engine)
            await commit(engine, log({5: b"later"}, after=engine.last))
            assert engine.load_before(oid(5), TID_MAX).data == b"later"

    asyncio.run(whole())


def test_the_state_of_a_mapped_transaction_equals_that_of_one_in_memory(tmp_path):
    first = log({1: b"old"})
    body = entries.encode_transaction(LARGE)
    in_memory = entries.following(first[0].point, 1, Kind.TRANSACTION, body)
    assert in_memory == mapped(tmp_path, LARGE, first[0].point)
    rows = []
    for name, entry in (("a", in_memory), ("b", mapped(tmp_path, LARGE, first[0].point))):

        async def story(engine, entry=entry) -> None:
            await commit(engine, [*first, entry])
            rows.append([engine.state.rows(t, b"", 2**30) for t in ("objects", "transactions", "commits")])

        tell(tmp_path / name, story, SLICED)

    assert rows[0] == rows[1]
    assert ORIGIN.lsn == 0 and isinstance(packed.decode(memoryview(body)).writes, packed.PackedWrites)


def test_small_entries_are_in_memory(tmp_path):
    async def story(engine) -> None:
        await commit(engine, log({1: b"a"}, {1: b"b"}))
        engine._recent.reset(engine.last)
        assert [type(entry.body) for entry in await engine.read(0, 2**20)] == [bytes, bytes]

    tell(tmp_path / "a", story, SMALL)


def test_the_file_of_an_applied_transaction_is_kept_by_nobody(tmp_path):
    async def story(engine) -> None:
        first = log({1: b"old"})
        spool = engine.spool()
        spool.write(entries.encode_transaction(LARGE))
        entry = entries.following(first[-1].point, 1, Kind.TRANSACTION, spool.view())
        del spool
        await commit(engine, [*first, entry])
        del entry
        deadline = asyncio.get_running_loop().time() + 10
        while engine._room.used:  # the threads let go a moment after they have told
            assert asyncio.get_running_loop().time() < deadline
            gc.collect()
            await asyncio.sleep(0.01)

    tell(tmp_path / "a", story, replace(SLICED, recent_bytes_max=1_000))
