"""What an error of LMDB means to whoever must act.

Pure but for the names of LMDB's errors.
"""

from __future__ import annotations

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
