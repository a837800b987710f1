"""Bodies that are on the disk before their entries: the log takes their files over, and is what it would be without."""

from __future__ import annotations

import asyncio
import os
import zlib
from pathlib import Path

import pytest

from springtide import errors
from springtide.ahead import Ahead, AheadFile, Arriving, digested
from springtide.engine import Engine, EngineOptions
from springtide.engine.files import Files
from springtide.records import digests, entries
from springtide.records.entries import Entry, Kind, Transaction, Write
from springtide.records.ids import TID_MAX, TID_ZERO, oid, tid
from springtide.records.position import ORIGIN, Point
from springtide.spool import SPOOLED_FROM, FileSpool
from tests.unit.engine.disk import CountingFiles, commit, id_of, log, opened, tell

RECORD = os.urandom(2**20)
WRITES = tuple(Write(oid(n), RECORD) for n in range(1, SPOOLED_FROM // len(RECORD) + 2))
ROOMY = EngineOptions(probe=False)


def body(at: bytes, number: int = 2) -> bytes:
    return entries.encode_transaction(Transaction(tid(number), id_of(number), at, b"", b"", WRITES))


def staged(engine: Engine, previous: Point, number: int = 2, hole: int = 0) -> Entry:
    """As a primary does it: all but the tid first, then the tid."""
    file = engine.stage(hole)
    data = body(b"u", number)
    file.write(bytes(8) + data[8:])
    ahead = digested(b"id", file, file.begin)
    ahead.settle()
    ahead.first(tid(number))
    return entries.following(previous, 1, Kind.TRANSACTION, ahead.bytes, ahead.rest, ahead)


def written(engine: Engine, hole: int = 0) -> list[Entry]:
    first = log({1: b"old", 99: b"beside"})
    large = staged(engine, first[-1].point, hole=hole)
    return [*first, large, *log({2: b"new"}, after=large.point)]


def plain(made: list[Entry]) -> list[Entry]:
    """The same with all bodies in memory."""
    return [Entry(e.epoch, e.lsn, e.kind, e.digest, bytes(e.body)) for e in made]


def files_beside(directory: Path) -> list[str]:
    return sorted(path.name for path in (directory / "log").iterdir() if path.suffix != ".log")


def test_what_came_ahead_is_not_written_again_and_is_read_as_any_other_entry(tmp_path):
    files, made = CountingFiles(), []

    async def write(engine: Engine) -> None:
        made.extend(written(engine, hole=100_000))
        files.bytes = 0
        await commit(engine, made)
        assert files.bytes < 10_000
        assert files_beside(engine._directory) == []
        engine._recent.reset(engine.last)  # as if it had happened long ago
        assert [(await engine.read(lsn, 2**20))[0] for lsn in range(3)] == plain(made)

    async def look(engine: Engine) -> None:
        assert engine.last == made[-1].point
        assert [(await engine.read(lsn, 2**20))[0] for lsn in range(3)] == plain(made)
        assert engine.load_before(oid(1), TID_MAX)[1:3] == (RECORD, tid(2))
        assert engine.load_before(oid(2), TID_MAX).data == b"new"
        await commit(engine, log({5: b"later"}, after=engine.last))
        assert engine.load_before(oid(5), TID_MAX).data == b"later"

    tell(tmp_path / "a", write, ROOMY, files)
    tell(tmp_path / "a", look, ROOMY)


def test_in_one_group_each_entry_has_its_place(tmp_path):
    """Also several that came ahead, one after the other, and at the very begin of the log."""

    async def story(engine: Engine) -> None:
        made = [staged(engine, ORIGIN, 1)]
        made.append(staged(engine, made[-1].point, 2))
        made += log({1: b"x"}, {2: b"y"}, after=made[-1].point)
        made.append(staged(engine, made[-1].point, 5))
        await commit(engine, made)
        engine._recent.reset(engine.last)
        assert [(await engine.read(lsn, 1))[0] for lsn in range(5)] == plain(made)
        assert engine.load_before(oid(3), TID_MAX).tid == tid(5)

    tell(tmp_path / "a", story, ROOMY)


@pytest.mark.parametrize("before", [0, 1])
def test_a_cut_takes_the_file_away_and_nobody_loses_what_he_reads(tmp_path, before):
    """Where the file is the first of the log, too: then it is not shortened, for it is mapped."""

    async def story(engine: Engine) -> None:
        first = log({1: b"old"})[:before]
        await engine.append(first)
        keep = engine.last
        large = staged(engine, keep)
        await engine.append([large])
        aside = await engine.cut(keep)
        assert aside is not None and engine.last == keep
        assert bytes(large.body) == body(b"u")
        await commit(engine, log({1: b"other"}, after=keep))
        assert engine.load_before(oid(1), TID_MAX).data == b"other"

    tell(tmp_path / "a", story, ROOMY)
    tell(tmp_path / "a", lambda engine: commit(engine, log({1: b"goes on"}, after=engine.last)), ROOMY)


def test_a_cut_behind_it_leaves_it(tmp_path):
    async def story(engine: Engine) -> None:
        made = written(engine)
        await engine.append(made)
        await engine.cut(made[1].point)
        await commit(engine, log({2: b"another"}, after=engine.last))
        assert engine.load_before(oid(2), TID_MAX).data == b"another"
        assert engine.load_before(oid(1), TID_MAX).data == RECORD

    tell(tmp_path / "a", story, ROOMY)


class Dying(Files):
    """The process dies before the call number ``at`` that changes something."""

    def __init__(self) -> None:
        self.at = -1

    def _live(self) -> None:
        self.at -= 1
        if self.at == 0:
            raise OSError("the machine is gone")

    def write(self, fd, data):
        self._live()
        super().write(fd, data)

    def write_at(self, fd, data, at):
        self._live()
        super().write_at(fd, data, at)

    def fdatasync(self, fd):
        self._live()
        super().fdatasync(fd)

    def rename(self, source, target):
        self._live()
        super().rename(source, target)

    def sync_directory(self, path):
        self._live()
        super().sync_directory(path)


@pytest.mark.parametrize("at", range(1, 14))
def test_wherever_it_dies_the_log_ends_before_or_behind_the_entry(tmp_path, at):
    made: list[Entry] = []

    async def whole() -> None:
        files = Dying()
        async with opened(tmp_path / "a", ROOMY, files) as engine:
            made.extend(written(engine))
            await commit(engine, made[:1])
            files.at = at
            try:
                await engine.append(made[1:])
                assert at > 11, "so many steps there are"
            except errors.DiskFailed:
                pass
        async with opened(tmp_path / "a", ROOMY) as engine:
            assert engine.last in [entry.point for entry in made]
            assert files_beside(engine._directory) == []
            assert engine.last == made[0].point or (await engine.read(1, 1))[0] == plain(made)[1]
            await engine.append(log({7: b"x"}, after=engine.last))

    asyncio.run(whole())


def test_damage_in_it_is_found(tmp_path):
    tell(tmp_path / "a", lambda engine: commit(engine, written(engine)), ROOMY)
    segment = max((tmp_path / "a" / "log").iterdir(), key=lambda path: path.stat().st_size)
    with segment.open("r+b") as file:
        file.seek(5_000_000)
        byte = file.read(1)[0]
        file.seek(5_000_000)
        file.write(bytes([byte ^ 1]))

    with pytest.raises(errors.Damaged, match="damaged at offset"):
        tell(tmp_path / "a", lambda engine: engine.until_applied(0), ROOMY)


def test_it_is_forgotten_as_other_segments_are(tmp_path):
    small = EngineOptions(probe=False, segment_bytes=600, log_retention_bytes=2_000, recent_bytes_max=1)

    async def story(engine: Engine) -> None:
        await commit(engine, written(engine))
        for _ in range(20):
            await commit(engine, log({5: b"x" * 300}, after=engine.last))
        assert engine.oldest.lsn > 2
        assert max(path.stat().st_size for path in (engine._directory / "log").iterdir()) < 5_000

    tell(tmp_path / "a", story, small)


def test_what_is_not_appended_leaves_no_file(tmp_path):
    async def story(engine: Engine) -> None:
        file = engine.stage()
        file.write(bytes(1_000))
        assert len(files_beside(engine._directory)) == 1
        del file
        assert files_beside(engine._directory) == []
        assert engine._room.used == 0

    tell(tmp_path / "a", story)
    (tmp_path / "a" / "log" / "left.new").touch()
    tell(tmp_path / "a", story)


def test_what_arrives_in_parts_has_the_digests_of_the_whole(tmp_path):
    data = body(b"u")
    arriving = Arriving(lambda: AheadFile(tmp_path, begin=500))
    for start in range(0, len(data), 300_000):
        arriving.add(data[start : start + 300_000])
        if arriving.overflows:
            arriving.spool()
    ahead = arriving.ahead(b"id")

    assert bytes(ahead.bytes) == data and ahead.at == 500
    assert ahead.rest == digests.rest_digest(data)
    assert ahead.crc_after(99) == zlib.crc32(data, 99)


def test_what_is_no_transaction_is_not_settled(tmp_path):
    file = FileSpool(tmp_path)
    file.write(b"nonsense" * 200_000)
    ahead: Ahead = digested(b"id", file, 0)

    with pytest.raises(entries.Malformed):
        ahead.settle()
    assert ahead.transaction is None and bytes(8) == TID_ZERO
