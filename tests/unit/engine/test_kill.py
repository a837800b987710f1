"""A process that is killed while it commits: what it said was durable is there, and nothing blocks its successor."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

from springtide.records.ids import TID_MAX, oid, tid
from tests.unit.engine.disk import SMALL, log, tell

COMMITTING = """
import asyncio, itertools, sys
from pathlib import Path
from tests.unit.engine.disk import SMALL, log, opened

async def main():
    async with opened(Path(sys.argv[1]), SMALL) as engine:
        for number in itertools.count(engine.last.lsn + 1):
            made = log({number % 7: b"%d" % number}, after=engine.last)
            await engine.append(made)
            engine.commit(number)
            print(number, flush=True)

asyncio.run(main())
"""


def commit_until_killed(directory: Path, count: int) -> int:
    """The last lsn that the process said was durable."""
    command = [sys.executable, "-c", COMMITTING, str(directory)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=Path(__file__).parents[3]) as process:
        assert process.stdout is not None
        for _ in range(count):
            process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
        said = process.stdout.read().split()
    return int(said[-1]) if said and said[-1].isdigit() else count


def test_what_was_durable_when_the_process_was_killed_is_there(tmp_path):
    floor = 0
    for count in (40, 150):
        floor = commit_until_killed(tmp_path, count)

    async def story(engine):
        assert engine.last.lsn >= floor
        engine.commit(engine.last.lsn)
        assert engine.commit_tid == tid(engine.last.lsn)
        newest = engine.load_before(oid(engine.last.lsn % 7), TID_MAX)
        assert newest.data == b"%d" % engine.last.lsn
        assert engine.last == log(*[{n % 7: b"%d" % n} for n in range(1, engine.last.lsn + 1)])[-1].point

    tell(tmp_path, story, SMALL)
