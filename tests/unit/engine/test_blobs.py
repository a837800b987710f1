"""Files of blobs on one disk: whole or not there, in their place after any crash, gone with their revision."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
import stat
from pathlib import Path

import pytest
from ZODB.blob import FilesystemHelper

from springtide import errors
from springtide.engine.blobs import Blobs
from springtide.engine.files import Files
from springtide.records import entries
from springtide.records.blobs import Named
from springtide.records.entries import Blob, Entry, Kind, Transaction, Write
from springtide.records.ids import Tid, oid, tid
from springtide.records.packs import PackBegin, PackStep, encode_pack
from springtide.records.position import ORIGIN, Point
from tests.unit.engine.disk import commit, id_of, log, opened, tell

CONTENT = os.urandom(100_000)


def blob_of(content: bytes, number: int = 1) -> Blob:
    digest = hashlib.blake2b(content, digest_size=16).digest()
    return Blob(number.to_bytes(16, "big"), len(content), digest)


def named(content: bytes = CONTENT, number: int = 1, at: int | None = 1, data_tid: Tid | None = None) -> Named:
    return Named(blob_of(content, number), oid(7), None if at is None else tid(at), data_tid)


def take_in(blobs: Blobs, content: bytes = CONTENT, number: int = 1) -> Blob:
    blob = blob_of(content, number)
    part = blobs.receive(blob, 0)
    part.write(content)
    part.finish()
    return blob


def entry(*names: Named, after: Point = ORIGIN, epoch: int = 1) -> Entry:
    """A transaction with these files, of objects that follow each other."""
    number = after.lsn + 1
    writes = tuple(Write(one.oid, b"record", one.data_tid, None, one.blob) for one in names)
    body = entries.encode_transaction(Transaction(tid(number), id_of(number), b"", b"", b"", writes))
    return entries.following(after, epoch, Kind.TRANSACTION, body)


@pytest.mark.parametrize("number", [0, 1, 0x10, 0x100, 0x03D4_5A6B_7C8D_9EAF, 2**63])
def test_files_are_where_zodb_looks_for_them(number: int, tmp_path: Path) -> None:
    blobs, helper = Blobs(tmp_path / "blobs", Files()), FilesystemHelper(str(tmp_path / "blobs"))

    path = blobs.path(oid(7), tid(number))

    assert str(path) == helper.getBlobFilename(oid(7), tid(number))
    path.parent.mkdir(parents=True)
    path.touch()
    assert list(blobs.committed()) == [(oid(7), tid(number))]


# -- taking in ---------------------------------------------------------------------------------


def test_a_file_has_its_name_only_when_it_is_whole_and_right(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", Files())
    part = blobs.receive(blob_of(CONTENT), 0)
    part.write(CONTENT[:10])
    assert not blobs.holds(named(at=None))

    part.write(CONTENT[10:])
    assert not blobs.holds(named(at=None))
    part.finish()

    assert blobs.holds(named(at=None))
    waiting = blobs.waiting(blob_of(CONTENT))
    assert waiting.read_bytes() == CONTENT
    assert stat.S_IMODE(waiting.stat().st_mode) == waiting.parent.stat().st_mode & 0o444
    assert not list(blobs.incoming.glob("*.part"))


def test_a_file_goes_on_where_it_broke_off_also_after_a_crash(tmp_path: Path) -> None:
    part = Blobs(tmp_path / "blobs", Files()).receive(blob_of(CONTENT), 0)
    part.write(CONTENT[:60_000])
    part.close()

    blobs = Blobs(tmp_path / "blobs", Files())
    assert blobs.held_bytes(blob_of(CONTENT)) == 60_000
    part = blobs.receive(blob_of(CONTENT), 50_000)
    part.write(CONTENT[50_000:])
    part.finish()

    assert blobs.holds(named(at=None))


def test_what_is_not_what_was_announced_is_refused_and_nothing_of_it_kept(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", Files())
    damaged = blobs.receive(blob_of(CONTENT), 0)
    damaged.write(CONTENT[:-1] + b"?")
    with pytest.raises(errors.BadRequest, match="store it again"):
        damaged.finish()
    longer = blobs.receive(blob_of(CONTENT), 0)
    with pytest.raises(errors.BadRequest, match="more bytes than the 100,000"):
        longer.write(CONTENT + b"?")
    with pytest.raises(errors.BadRequest, match="not 5 bytes"):
        blobs.receive(blob_of(CONTENT), 5)

    assert not list(blobs.incoming.iterdir())


class FullFiles(Files):
    """A disk that is full when a call of this name comes."""

    def __init__(self, call: str) -> None:
        self.call = call

    def _check(self, call: str) -> None:
        if call == self.call:
            raise OSError(errno.ENOSPC, "no space left")

    def write(self, fd: int, data: bytes | memoryview) -> None:
        self._check("write")
        super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        self._check("fdatasync")
        super().fdatasync(fd)

    def fsync(self, fd: int) -> None:
        self._check("fsync")
        super().fsync(fd)


@pytest.mark.parametrize("call", ["write", "fdatasync", "fsync"])
def test_a_full_disk_is_said_and_freed(tmp_path: Path, call: str) -> None:
    content = bytes(33 * 2**20)
    files = FullFiles(call)
    Blobs(tmp_path / "blobs", Files())
    blobs = Blobs(tmp_path / "blobs", files)
    part = blobs.receive(blob_of(content), 0)

    with pytest.raises(errors.NoSpace, match="free space there"):
        part.write(content)
        part.finish()

    assert not list(blobs.incoming.iterdir())
    files.call = ""
    assert take_in(blobs) == blob_of(CONTENT)


# -- applying ----------------------------------------------------------------------------------


class Crash(Exception):
    pass


class CrashingFiles(Files):
    """The process dies before the call of this number."""

    def __init__(self, at: int) -> None:
        self.left = at

    def _step(self) -> None:
        self.left -= 1
        if self.left == 0:
            raise Crash

    def make_directory(self, path: Path) -> None:
        self._step()
        super().make_directory(path)

    def link(self, source: Path, target: Path) -> None:
        self._step()
        super().link(source, target)

    def rename(self, source: Path, target: Path) -> None:
        self._step()
        super().rename(source, target)

    def unlink(self, path: Path) -> None:
        self._step()
        super().unlink(path)

    def sync_directory(self, path: Path) -> None:
        self._step()
        super().sync_directory(path)


def test_a_file_gets_its_place_whichever_step_a_crash_interrupts(tmp_path: Path) -> None:
    crashes = 0
    for at in range(1, 100):
        directory = tmp_path / str(at)
        directory.mkdir()
        take_in(Blobs(directory / "blobs", Files()))
        files = CrashingFiles(10**9)
        interrupted = Blobs(directory / "blobs", files)
        files.left = at
        try:
            interrupted.place(named())
        except Crash:
            crashes += 1
        blobs = Blobs(directory / "blobs", Files())

        blobs.place(named())

        assert blobs.path(oid(7), tid(1)).read_bytes() == CONTENT
        assert blobs.verify(named()) and list(blobs.committed()) == [(oid(7), tid(1))]
        assert not list(blobs.directory.rglob("*.new"))
        if files.left > 0:
            break
    assert crashes > 10, "directories, a second name, the first one's end, and what makes them durable"


def test_a_file_in_its_place_stays_when_its_entry_is_applied_again(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", Files())
    take_in(blobs)
    blobs.place(named())
    blobs.sweep((), -10.0)

    blobs.place(named())

    assert blobs.verify(named()) and not list(blobs.incoming.iterdir())


def test_what_another_history_left_is_replaced(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", Files())
    take_in(blobs, b"of another history", 9)
    blobs.place(named(b"of another history", 9))
    take_in(blobs)

    blobs.place(named())

    assert blobs.verify(named())


def test_an_entry_that_is_applied_brings_its_file_to_the_place_where_zodb_looks(tmp_path: Path) -> None:
    async def story(engine):
        take_in(engine.blobs.files)
        await commit(engine, [entry(named())], applied=False)
        assert engine.load_serial(oid(7), tid(1)).blob == blob_of(CONTENT)
        before = await engine.blobs.open(named())
        await engine.until_applied(1)
        after = await engine.blobs.open(named())

        for file in (before, after):
            assert b"".join([data async for data in engine.blobs.read(file, 10)]) == CONTENT[10:]
        assert engine.load_serial(oid(7), tid(1)).blob == blob_of(CONTENT)

    tell(tmp_path, story)
    place = tmp_path / "blobs/0x00/0x00/0x00/0x00/0x00/0x00/0x00/0x07/0x01.blob"
    assert place.read_bytes() == CONTENT and (tmp_path / "blobs/.layout").read_text() == "bushy"


def test_what_was_committed_and_not_applied_is_placed_after_the_next_start(tmp_path: Path) -> None:
    async def before(engine):
        take_in(engine.blobs.files)
        await engine.append([entry(named())])
        engine.blobs.files.place(named())  # and then the process died, before the row was there

    async def after(engine):
        engine.commit(1)
        await engine.until_applied(1)
        assert engine.blobs.files.verify(named())

    tell(tmp_path, before)
    tell(tmp_path, after)


def test_a_file_that_somebody_removed_stops_the_node_with_its_name(tmp_path: Path) -> None:
    async def story(engine):
        failed = asyncio.get_running_loop().create_future()
        engine.on_failure = failed.set_result
        blob = take_in(engine.blobs.files)
        await engine.append([entry(named())])
        engine.blobs.files.waiting(blob).unlink()

        engine.commit(1)

        assert isinstance(await failed, errors.Damaged) and blob.id.hex() in str(failed.result())

    tell(tmp_path, story)


def test_a_revision_that_was_packed_away_elsewhere_is_taken_in_without_its_file(tmp_path: Path) -> None:
    async def story(engine):
        assert await engine.blobs.lacking([named()])
        await engine.blobs.give_up(blob_of(CONTENT))
        assert not await engine.blobs.lacking([named()])

        await commit(engine, [entry(named())])

        with pytest.raises(errors.BlobMissing, match="not on this node"):
            await engine.blobs.open(named())

    tell(tmp_path, story)


# -- copies, tails, care -----------------------------------------------------------------------


def test_a_file_that_repeats_a_committed_one_is_made_from_it(tmp_path: Path) -> None:
    again = Named(blob_of(CONTENT, 2), oid(7), None, tid(1))
    other = Named(blob_of(b"another content", 3), oid(7), None, tid(1))

    async def story(engine):
        take_in(engine.blobs.files)
        await commit(engine, [entry(named())])

        assert await engine.blobs.lacking([again, other]) == [other]

        first = engine.blobs.files.path(oid(7), tid(1))
        assert engine.blobs.files.waiting(again.blob).samefile(first)
        await commit(engine, [entry(again, after=engine.last)])
        assert engine.blobs.files.path(oid(7), tid(2)).samefile(first)

    tell(tmp_path, story)


def test_the_files_of_a_tail_that_is_cut_are_set_aside_with_it(tmp_path: Path) -> None:
    async def story(engine):
        take_in(engine.blobs.files)
        take_in(engine.blobs.files, b"never committed", 2)
        kept = entry(named())
        await commit(engine, [kept])
        await engine.append([entry(named(b"never committed", 2), after=kept.point)])

        aside = await engine.cut(kept.point)

        (file,) = (aside / "blobs").iterdir()
        assert file.read_bytes() == b"never committed"
        assert await engine.blobs.sweep((), -10.0) and not list(engine.blobs.files.incoming.iterdir())
        assert file.read_bytes() == b"never committed" and engine.blobs.files.verify(named())

    tell(tmp_path, story)


def test_only_files_that_nobody_names_are_swept(tmp_path: Path) -> None:
    async def story(engine):
        for number in range(1, 4):
            take_in(engine.blobs.files, b"%d" % number, number)
        await engine.append([entry(named(b"1", 1))])

        assert not await engine.blobs.sweep((), 100.0)
        await engine.blobs.sweep([blob_of(b"2", 2).id], -10.0)
        await engine.blobs.forget([blob_of(b"1", 1).id])

        left = {engine.blobs.files.waits(blob_of(b"%d" % number, number)) for number in (1, 2)}
        assert left == {True} and not engine.blobs.files.waits(blob_of(b"3", 3))

    tell(tmp_path, story)


def test_files_without_a_revision_are_found_and_only_those_below_what_is_applied(tmp_path: Path) -> None:
    async def story(engine):
        files = engine.blobs.files
        take_in(files)
        await commit(engine, [entry(named()), *log({1: b"x"}, after=entry(named()).point)])
        for number, at in ((2, 2), (3, 9)):
            take_in(files, b"orphan", number)
            files.place(named(b"orphan", number, at))

        assert await engine.blobs.scrub() == 1

        assert sorted(files.committed()) == [(oid(7), tid(1)), (oid(7), tid(9))]

    tell(tmp_path, story)


def test_rows_of_a_copy_come_in_with_their_files_and_what_is_here_is_compared(tmp_path: Path) -> None:
    async def story():
        async with opened(tmp_path / "one") as source, opened(tmp_path / "two", node="b") as target:
            take_in(source.blobs.files)
            await commit(source, [entry(named())])
            export = source.open_export()
            rows = export.read("objects", b"", 10_000)
            await target.begin_import(export.base, "cluster", "history")

            assert await target.blobs.lacking_rows("objects", rows) == [named()]
            take_in(target.blobs.files)
            assert not await target.blobs.lacking_rows("objects", rows)
            await target.import_rows("objects", rows)

            files = target.blobs.files
            await target.blobs.sweep((), -10.0)
            assert files.verify(named()) and not await target.blobs.lacking_rows("objects", rows)
            files.path(oid(7), tid(1)).chmod(0o644)
            files.path(oid(7), tid(1)).write_bytes(CONTENT[:-1] + b"?")
            assert await target.blobs.lacking_rows("objects", rows) == [named()]

    asyncio.run(story())


def test_packing_a_revision_away_takes_its_file(tmp_path: Path) -> None:
    blobs = Blobs(tmp_path / "blobs", Files())
    take_in(blobs)
    blobs.place(named())

    blobs.remove(oid(7), tid(1))
    blobs.remove(oid(7), tid(1))

    assert not list(blobs.committed()) and not list(blobs.directory.glob("0x*"))
    assert blobs.incoming.is_dir()


def test_a_pack_takes_the_files_of_what_it_takes_away_also_where_it_was_cut_short(tmp_path: Path) -> None:
    async def before(engine):
        made: list[Entry] = []
        for number in range(1, 4):
            take_in(engine.blobs.files, b"%d" % number, number)
            made.append(entry(named(b"%d" % number, number), after=made[-1].point if made else ORIGIN))
        begin, step = PackBegin(tid(2), False), PackStep(((tid(1), (oid(7),)),))
        for pack in (begin, step):
            body = encode_pack(pack)
            made.append(entries.following(made[-1].point, 1, Kind.PACK, body))
        await commit(engine, made)
        files = engine.blobs.files
        assert sorted(files.committed()) == [(oid(7), tid(2)), (oid(7), tid(3))]

        take_in(files, b"1", 1)
        files.place(named(b"1", 1, 1))  # as if the process had died before it removed the file

    async def after(engine):
        assert await engine.blobs.scrub() == 1
        assert sorted(engine.blobs.files.committed()) == [(oid(7), tid(2)), (oid(7), tid(3))]
        assert [found async for found in engine.blobs.check(tid(9))] == [(2, 2, [])]

    tell(tmp_path, before)
    tell(tmp_path, after)


def test_a_node_is_told_that_what_it_asks_for_was_packed_away_and_only_where_that_is_sure(tmp_path: Path) -> None:
    async def story(engine):
        take_in(engine.blobs.files)
        await commit(engine, [entry(named())])

        other = Named(blob_of(b"x", 5), oid(8), tid(1))
        assert await engine.blobs.find(other) is None, "there is no such revision below the commit point"
        for unknown in (Named(blob_of(b"x", 5), oid(8), tid(2)), Named(blob_of(b"x", 5), oid(8)), named(b"x", 5)):
            with pytest.raises(errors.BlobMissing):
                await engine.blobs.find(unknown)

    tell(tmp_path, story)
