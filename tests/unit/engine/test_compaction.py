"""A state is written anew while the node goes on, and whatever a kill leaves of that is put in order."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys

import pytest

from springtide.engine import Result, compaction
from springtide.engine.state import State
from springtide.records.ids import TID_MAX, oid, tid
from springtide.records.packs import PackBegin, PackEnd, PackStep
from tests.unit.engine.disk import SMALL, commit, log, oids, opened, tell
from tests.unit.engine.test_packs import packs, rows

RECORD = os.urandom(2_000)
#: 30 objects of 20 revisions each, all but the last of which a pack takes away.
MANY = log(*[dict.fromkeys(range(30), RECORD) for _ in range(20)])
PACK = packs(
    PackBegin(tid(20), False),
    PackStep(tuple((tid(n), oids(*range(30))) for n in range(1, 20))),
    PackEnd(),
    after=MANY[-1].point,
)


def test_what_was_packed_away_takes_no_space_after_it_and_everything_else_is_as_it_was(tmp_path):
    async def story(engine):
        await commit(engine, [*MANY, *PACK])
        once = rows(engine)

        before, after = await engine.compact()

        assert after < before / 3
        assert rows(engine) == once
        assert sorted(path.name for path in tmp_path.glob("state*")) == ["state"]

    async def again(engine):
        assert engine.load_before(oid(3), TID_MAX)[:3] == (Result.FOUND, RECORD, tid(20))
        assert engine.object_count() == 30

    tell(tmp_path, story)
    tell(tmp_path, again)


def test_what_is_committed_meanwhile_is_there_afterwards(tmp_path):
    async def story(engine):
        await commit(engine, [*MANY, *PACK])
        writing, more = asyncio.ensure_future(engine.compact()), []
        while not writing.done():
            made = log({1: b"%d" % len(more)}, after=engine.last, first=100 + len(more))
            await commit(engine, made, applied=False)
            more += made
            await asyncio.sleep(0.005)
        await writing
        await commit(engine, log({1: b"last"}, after=engine.last, first=100_000))

        assert more
        assert engine.load_before(oid(1), TID_MAX).data == b"last"
        assert len(list(engine.transactions(tid(100)))) == len(more) + 1

    tell(tmp_path, story)


#: Looks, says what it saw, and looks again when told to.
NEIGHBOUR = """
import sys
from pathlib import Path
from springtide.engine.nextdoor import NextDoor
from springtide.records.ids import TID_ZERO, oid, tid

reader = NextDoor(Path(sys.argv[1]), int(sys.argv[2]))
for _ in sys.stdin:
    transactions = len(list(reader.transactions(TID_ZERO, tid(2**62))))
    print(int.from_bytes(reader.current(oid(1), tid(2**62))[0], "big"), transactions, flush=True)
    reader.release()
"""


def test_a_reader_next_door_goes_on_with_the_new_one(tmp_path):
    async def story(engine):
        await commit(engine, MANY)
        command = sys.executable, "-c", NEIGHBOUR, str(tmp_path / "state"), str(SMALL.map_bytes)
        pipes = {"stdin": asyncio.subprocess.PIPE, "stdout": asyncio.subprocess.PIPE}
        reader = await asyncio.create_subprocess_exec(*command, **pipes)

        async def look():
            reader.stdin.write(b"\n")
            return await asyncio.wait_for(reader.stdout.readline(), 30)

        assert await look() == b"20 20\n"
        await engine.compact()
        await commit(engine, log({1: b"new"}, after=engine.last, first=30))
        assert await look() == b"30 21\n"
        reader.stdin.close()
        await reader.wait()

    tell(tmp_path, story)


def test_two_compactions_at_once_are_one_too_many(tmp_path):
    async def story(engine):
        await commit(engine, MANY)
        first = asyncio.ensure_future(engine.compact())
        await asyncio.sleep(0)
        with pytest.raises(Exception, match="already"):
            await engine.compact()
        await first
        await engine.compact()

    tell(tmp_path, story)


@pytest.mark.parametrize("step", ["copying", "copied", "marked dead", "moved away", "in place"])
def test_a_node_that_was_killed_at_any_step_starts_with_one_of_the_two_whole(tmp_path, step):
    async def first(engine):
        await commit(engine, MANY)
        found.append(rows(engine))

    async def then(engine):
        found.append(rows(engine))
        assert sorted(path.name for path in tmp_path.glob("state*")) == ["state"]

    found: list[object] = []
    tell(tmp_path, first)
    state, copying, compacted = (tmp_path / name for name in ("state", compaction.COPYING, compaction.COMPACTED))
    old = tmp_path / compaction.OLD
    if step == "copying":
        copying.mkdir()
        (copying / "data.mdb").write_bytes((state / "data.mdb").read_bytes()[:5_000])
    else:
        shutil.copytree(state, compacted)
        if step != "copied":
            dead = State(state, "a", SMALL)
            dead.mark_dead()
            dead.close()
        if step in ("moved away", "in place"):
            state.rename(old)
        if step == "in place":
            compacted.rename(state)

    tell(tmp_path, then)

    assert found[0] == found[1]


def test_a_disk_without_room_for_a_copy_is_left_alone(tmp_path):
    async def story():
        async with opened(tmp_path) as engine:
            await commit(engine, MANY)
            engine.headroom_bytes = lambda: 2**20
            with pytest.raises(Exception, match="free bytes"):
                await engine.compact()

    asyncio.run(story())
