"""Bytes that are too many for memory: files without a name, which vanish with the last who uses them.

What is written is read through a memory map, so the system's file cache holds it and no process does.
Nothing here is synced: a spool is gone with its process, and nothing that must last is only here. What may come to
last, a file of ``springtide.ahead`` is made for.
"""

from __future__ import annotations

import errno
import mmap
import os
import tempfile
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import IO, Protocol

from springtide import errors

#: What is larger than this is kept in a spool rather than in memory.
SPOOLED_FROM = 8 * 2**20

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_NOTHING = memoryview(b"")


class Room:
    """How many bytes the spools that share it may hold together. For any thread."""

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.used = 0
        # Spools are also given up by the garbage collector, at any moment, in any thread, this one included.
        self._lock = threading.RLock()

    def take(self, size: int) -> None:
        """Raises ``NoSpace`` where there is not enough."""
        with self._lock:
            if self.used + size > self.bytes_max:
                raise errors.NoSpace(
                    f"transactions under way hold {self.used:,} bytes of at most {self.bytes_max:,} on this disk: "
                    "try again when they are done"
                )
            self.used += size

    def give_back(self, size: int) -> None:
        with self._lock:
            self.used -= size


class Spool(Protocol):
    """Written by one thread at a time. What ``view`` gave is read by any thread, and lives as long as it is held."""

    @property
    def begin(self) -> int:
        """How many bytes were left for ``patch``."""

    @property
    def end(self) -> int: ...
    def write(self, data: bytes | memoryview) -> None: ...
    def patch(self, at: int, data: bytes) -> None: ...
    def view(self, start: int = 0) -> memoryview: ...


class _Space:
    """The share of a room that one file has, until the file and all maps of it are gone."""

    def __init__(self, room: Room | None) -> None:
        self._room = room
        self._size = self._users = 0

    def grow(self, size: int) -> None:
        if self._room is not None:
            self._room.take(size)
            self._size += size

    def used_by(self, user: object) -> None:
        self._users += 1
        weakref.finalize(user, self._unused).atexit = False

    def _unused(self) -> None:
        self._users -= 1
        if self._users == 0 and self._room is not None:
            self._room.give_back(self._size)


class FileSpool:
    """A spool in ``directory`` (the system's, if None). The first ``begin`` bytes are left for ``patch``.

    Raises ``NoSpace`` where the disk or ``room`` is full, ``DiskFailed`` where the disk fails; it is of no use then.
    """

    def __init__(self, directory: Path | None = None, room: Room | None = None, begin: int = 0) -> None:
        self._where = str(directory or tempfile.gettempdir())
        self._space = _Space(room)
        try:
            self._file = self._made(directory)
        except OSError as error:
            raise self._failed(error) from error
        self._space.used_by(self)
        self.begin = self.end = begin

    def _made(self, directory: Path | None) -> IO[bytes]:
        return tempfile.TemporaryFile(dir=directory, suffix=".new", buffering=0)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()  # maps of it live on

    def write(self, data: bytes | memoryview) -> None:
        """Append all of ``data``."""
        self._space.grow(len(data))
        self._write(self.end, data)
        self.end += len(data)

    def patch(self, at: int, data: bytes) -> None:
        """Write over what is there; maps show it at once."""
        assert at + len(data) <= self.end, "a patch lies within what was written, or left for it"
        self._write(at, data)

    def _write(self, at: int, data: bytes | memoryview) -> None:
        left = memoryview(data)
        try:
            while left:
                written = os.pwrite(self._file.fileno(), left, at)
                left, at = left[written:], at + written
        except OSError as error:
            raise self._failed(error) from error

    def read(self, at: int, size: int) -> bytes:
        """``size`` bytes, all of which were written."""
        parts = []
        try:
            while size > 0 and (part := os.pread(self._file.fileno(), size, at)):
                parts.append(part)
                at, size = at + len(part), size - len(part)
        except OSError as error:
            raise self._failed(error) from error
        assert size == 0, "what is read was written"
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def view(self, start: int = 0) -> memoryview:
        """What was written from ``start`` on, without copying it."""
        if self.end <= start:
            return _NOTHING
        try:
            mapped = mmap.mmap(self._file.fileno(), self.end, access=mmap.ACCESS_READ)
        except OSError as error:
            raise self._failed(error) from error
        self._space.used_by(mapped)
        return memoryview(mapped)[start:]

    def _failed(self, error: OSError) -> errors.SpringtideError:
        if error.errno in _FULL:
            return errors.NoSpace(f"the disk that holds {self._where} is full, free space there: {error}")
        return errors.DiskFailed(f"a temporary file in {self._where} cannot be used: {error}")


class Growing:
    """Bytes that arrive in parts: in memory while they are few, then in what ``make`` makes."""

    def __init__(self, make: Callable[[], Spool]) -> None:
        self._make = make
        self._spool: Spool | None = None
        self._parts: list[bytes] = []
        self._held = 0
        self.size = 0

    def add(self, part: bytes) -> None:
        self._parts.append(part)
        self._held += len(part)
        self.size += len(part)

    @property
    def overflows(self) -> bool:
        """Whether it is time to ``spool`` what is held in memory."""
        return self._held > (SPOOLED_FROM if self._spool is None else SPOOLED_FROM // 8)

    @property
    def is_spooled(self) -> bool:
        return self._spool is not None

    def spool(self) -> None:
        """Write what is held. Blocks."""
        data = b"".join(self._parts)
        self._parts, self._held = [], 0
        self._spooled(data, first=self._spool is None)
        self._spool = self._spool or self._make()
        self._spool.write(data)

    def _spooled(self, data: bytes, first: bool) -> None:
        """For those who look at what passes by."""

    def whole(self) -> bytes | memoryview:
        """All of it; where some was spooled, a view of a file."""
        if self._spool is None:
            return b"".join(self._parts)
        if self._parts:
            self.spool()
        return self._spool.view(self._spool.begin)


def sweep(directory: Path) -> None:
    """Remove what a process left that died while it made a file, where file systems know no files without a name."""
    for path in directory.glob("*.new"):
        path.unlink(missing_ok=True)
