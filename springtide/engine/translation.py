"""What an error of LMDB, or damage, means to whoever must act.

Pure but for the names of LMDB's errors.
"""

from __future__ import annotations

from pathlib import Path

import lmdb

from springtide import errors


def translated(error: lmdb.Error, doing: str) -> errors.SpringtideError:
    match error:
        case lmdb.InvalidError() | lmdb.CorruptedError() | lmdb.PageNotFoundError() | lmdb.VersionMismatchError():
            return errors.Damaged(f"{doing} found damage: {error}")
        case lmdb.MapFullError():
            return errors.DiskFailed(f"{doing} failed: the state has reached map_bytes: {error}")
        case lmdb.MemoryError():
            return errors.ConfigError(f"{doing} failed: no room for map_bytes in the address space: {error}")
        case lmdb.ReadersFullError():
            return errors.NotCaughtUp(f"{doing} failed: more than readers_max read at the same time: {error}")
        case lmdb.BadValsizeError():
            return errors.BadRequest(f"{doing} failed: nothing can have such a name: {error}")
        case _:
            return errors.DiskFailed(f"{doing} failed: {error}")


def with_advice(error: errors.Damaged, directory: Path) -> errors.Damaged:
    """The same, for the operator of the node that keeps ``directory``."""
    return errors.Damaged(
        f"{error}. Only this node's copy is bad, the cluster goes on: move {directory} away, keep it to be examined, "
        "and start the node with an empty directory, into which it copies the database from the others; for a node "
        "that stands alone, restore a backup"
    )
