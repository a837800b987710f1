"""Look at an LMDB file in a child process first: a damaged page can end in a signal.

LMDB maps its file and follows what it says; it has no checksums of its own. The
child walks the trees (all of a small file, samples of a large one) and touches
what a first write would. If it does not come back well, the file is damaged.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from springtide import errors

#: A child that takes longer than this hangs in a loop of pages.
_SECONDS_MAX = 60.0
#: So much of each table is walked from its start, and so many places in it are visited.
_ROWS_WALKED = 20_000
_PLACES = 256


def probe(directory: Path, map_bytes: int) -> None:
    """Raises ``Damaged`` if the environment in ``directory`` cannot be walked."""
    command = [sys.executable, "-I", "-c", _CHILD, str(directory), str(map_bytes), os.path.dirname(_lmdb_path())]
    try:
        done = subprocess.run(command, capture_output=True, timeout=_SECONDS_MAX, check=False)
    except subprocess.TimeoutExpired as error:
        raise errors.Damaged(f"the state in {directory} is damaged: looking through it did not end") from error
    if done.returncode < 0:
        raise errors.Damaged(
            f"the state in {directory} is damaged: looking through it ended with signal {-done.returncode}"
        )
    if done.returncode > 0:
        reason = done.stderr.decode(errors="replace").strip().rsplit("\n", 1)[-1]
        raise errors.Damaged(f"the state in {directory} is damaged: {reason}")


def _lmdb_path() -> str:
    import lmdb

    return os.path.dirname(lmdb.__file__)


_CHILD = f"""
import sys
sys.path.append(sys.argv[3])
import lmdb

env = lmdb.open(sys.argv[1], map_size=int(sys.argv[2]), max_dbs=8, create=False)
with env.begin(buffers=True) as txn:
    names = [bytes(key) for key, _ in txn.cursor()]
tables = [env.open_db(name, create=False) for name in names]
with env.begin(buffers=True) as txn:
    for table in tables:
        cursor = txn.cursor(table)
        more, count = cursor.first(), 0
        while more and count < {_ROWS_WALKED}:
            bytes(cursor.value()[-1:])
            more, count = cursor.next(), count + 1
        for place in range({_PLACES}):
            if cursor.set_range(bytes((place, 0))):
                bytes(cursor.value()[-1:])
        if cursor.last():
            bytes(cursor.value()[-1:])
with env.begin(write=True) as txn:
    for table in tables:
        txn.put(b"\\xff" * 16, bytes(5000), db=table)
    txn.abort()
env.close()
"""
