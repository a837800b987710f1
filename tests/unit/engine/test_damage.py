"""Damage that is found while a node serves stops it, once, whoever found it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from springtide import errors
from springtide.engine.files import Files
from springtide.engine.log import Log
from springtide.records.ids import TID_MAX, TID_ZERO, oid, tid
from tests.unit.build import history
from tests.unit.engine.disk import SMALL, commit, log, tell

SECRET = b"a record that is found again in the file"
FORGETFUL = replace(SMALL, recent_bytes_max=0)


def spoil(path: Path, what: bytes = SECRET) -> None:
    data = path.read_bytes()
    assert what in data
    path.write_bytes(data.replace(what, b"A" + what[1:]))


def only(directory: Path, *changes) -> None:
    """A directory whose state has these changes applied."""

    async def story(engine):
        await commit(engine, log(*changes))

    tell(directory, story)


READS = {
    "load_before": lambda engine: engine.load_before(oid(1), TID_MAX),
    "load_serial": lambda engine: engine.load_serial(oid(1), tid(1)),
    "a snapshot": lambda engine: engine.open_export().read("objects", b"", 10**6),
    "digests": lambda engine: list(engine.digests(TID_MAX)),
    "writes": lambda engine: [list(t.writes) for t in engine.transactions()],
}


@pytest.mark.parametrize("name", READS)
@pytest.mark.parametrize("in_thread", [False, True])
def test_a_damaged_record_stops_the_node_once(tmp_path, name, in_thread):
    only(tmp_path, {1: SECRET, 2: b"fine"})
    spoil(tmp_path / "state" / "data.mdb")
    read = READS[name]

    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        assert engine.load_before(oid(2), TID_MAX).data == b"fine"
        for _ in range(3):
            with pytest.raises(errors.Damaged, match="its checksum differs"):
                if in_thread:
                    await asyncio.to_thread(read, engine)
                else:
                    read(engine)
        await asyncio.sleep(0)
        assert [type(error) for error in failures] == [errors.Damaged]
        assert f"move {tmp_path} away" in str(failures[0]) and "restore a backup" in str(failures[0])
        with pytest.raises(errors.DiskFailed, match="after a failure"):
            await engine.append(log({1: b"x"}, after=engine.last))

    tell(tmp_path, story)


def test_a_damaged_description_of_a_transaction_stops_the_node(tmp_path):
    only(tmp_path, {1: b"x"})
    spoil(tmp_path / "state" / "data.mdb", b"about 1")

    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        for iterate in (lambda: engine.transactions(), lambda: engine.changed_since(TID_ZERO)):
            with pytest.raises(errors.Damaged):
                await asyncio.to_thread(list, iterate())
        await asyncio.sleep(0)
        assert len(failures) == 1

    tell(tmp_path, story)


def damaged(directory: Path) -> None:
    (path,) = (directory / "log").iterdir()
    spoil(path)


def missing(directory: Path) -> None:
    (path,) = (directory / "log").iterdir()
    path.unlink()


def unreadable(directory: Path) -> None:
    (path,) = (directory / "log").iterdir()
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize(
    ("spoiled", "error"), [(damaged, errors.Damaged), (missing, errors.Damaged), (unreadable, errors.DiskFailed)]
)
def test_a_segment_that_cannot_be_read_stops_the_node_once(tmp_path, spoiled, error):
    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        await engine.append(log({1: SECRET}, {1: b"y"}))
        spoiled(tmp_path)
        for _ in range(3):
            with pytest.raises(error):
                await engine.read(0, 10**6)
        await asyncio.sleep(0)
        assert [type(failure) for failure in failures] == [error]

    tell(tmp_path, story, replace(FORGETFUL, segment_bytes=10**6))


def test_damage_that_is_found_by_looking_up_a_point_stops_the_node(tmp_path):
    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        await engine.append(log({1: b"x"}, {1: b"y"}))
        missing(tmp_path)
        with pytest.raises(errors.Damaged):
            engine.point(1)
        await asyncio.sleep(0)
        assert [type(failure) for failure in failures] == [errors.Damaged]

    tell(tmp_path, story, FORGETFUL)


def test_damage_that_is_found_while_a_tail_is_set_aside_stops_the_node(tmp_path):
    made = log({1: b"x"}, {1: SECRET})

    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        await engine.append(made)
        damaged(tmp_path)
        with pytest.raises(errors.Damaged):
            await engine.cut(made[0].point)
        assert [type(failure) for failure in failures] == [errors.Damaged]

    tell(tmp_path, story, SMALL)


class Meanwhile(Files):
    """Something else happens to the file between the moment a read begins and that of the read."""

    def __init__(self) -> None:
        self.happens = lambda: None

    def read(self, path: Path, at: int = 0, size: int | None = None) -> bytes:
        happens, self.happens = self.happens, lambda: None
        happens()
        return super().read(path, at, size)


TEN = history("1*10")


def cut_and_written_anew(found: Log, directory: Path) -> None:
    found.cut(TEN[3].point, directory / "diverged")
    found.write(history("2b*3", base=TEN[3].point))


def begun_anew(found: Log, directory: Path) -> None:
    found.reset(TEN[0].point)
    found.write(history("2b*9", base=TEN[0].point))


def emptied(found: Log, directory: Path) -> None:
    found.reset(TEN[-1].point)


@pytest.mark.parametrize("happens", [cut_and_written_anew, begun_anew, emptied])
@pytest.mark.parametrize("segment_bytes", [250, 100_000])
def test_a_log_that_is_cut_under_a_reader_is_not_damaged(tmp_path, happens, segment_bytes):
    files = Meanwhile()
    found = Log.open(tmp_path / "log", files, segment_bytes)
    found.write(TEN)

    for after in range(4, 9):
        files.happens = lambda: happens(found, tmp_path)
        with pytest.raises(errors.Stopping, match="cut"):
            found.read(after, 10_000)
        found.reset(TEN[0].point)
        found.write(TEN[1:])


def test_a_point_of_a_log_that_begins_anew_meanwhile_is_not_known(tmp_path):
    files = Meanwhile()
    found = Log.open(tmp_path / "log", files, 250)
    found.write(TEN)
    files.happens = lambda: begun_anew(found, tmp_path)

    assert found.point(6) is None
