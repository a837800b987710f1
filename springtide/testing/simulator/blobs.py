"""The files of a simulated node: whole or not there, on a platter as soon as they are taken in.

The content of every file is the id of its blob, twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

from springtide import errors
from springtide.records.blobs import Named
from springtide.records.entries import Blob
from springtide.testing.simulator.platter import Platter


def content(id: bytes) -> bytes:
    return 2 * id


class SimIntake:
    def __init__(self, platter: Platter, blob: Blob, disk_time: Callable[[], Awaitable[None]]) -> None:
        self._platter, self._blob, self._disk_time = platter, blob, disk_time
        self._parts = b""

    @property
    def held(self) -> int:
        return len(self._parts)

    async def write(self, data: bytes) -> None:
        self._parts += data

    async def finish(self) -> None:
        if self._parts != content(self._blob.id):
            raise errors.BadRequest(f"the content of blob {self._blob.id.hex()} is another")
        await self._disk_time()
        self._platter.files.add(self._blob.id)


class SimBlobs:
    def __init__(self, platter: Platter, disk_time: Callable[[], Awaitable[None]]) -> None:
        self._platter, self._disk_time = platter, disk_time

    async def lacking(self, names: Sequence[Named]) -> list[Named]:
        await asyncio.sleep(0)
        return [named for named in names if named.blob.id not in self._platter.files]

    async def lacking_rows(self, table: str, rows: Sequence[tuple[bytes, bytes]]) -> list[Named]:
        """Rows of the simulator say nothing of files."""
        return []

    @asynccontextmanager
    async def receive(self, blob: Blob) -> AsyncIterator[SimIntake]:
        yield SimIntake(self._platter, blob, self._disk_time)

    async def give_up(self, blob: Blob) -> None:
        raise AssertionError("nothing is packed here")
