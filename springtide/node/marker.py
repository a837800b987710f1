"""The process that finds out what a pack takes away, as the primary sees it."""

from __future__ import annotations

import asyncio
import struct
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

from springtide import errors
from springtide.engine import packing_child as child
from springtide.primary.packing import Ask, Report
from springtide.records.bitmap import Bitmap
from springtide.records.packs import PackBegin, PackStep, decode_pack, encode_pack


class Marker:
    """``primary.packing.Marker`` over a child process, which ends with this one, and with ``close``."""

    def __init__(self, process: asyncio.subprocess.Process, ask: Ask, report: Report) -> None:
        assert process.stdin is not None and process.stdout is not None, "it was started with pipes"
        self._process = process
        self._in, self._out = process.stdin, process.stdout
        self._ask = ask
        self._report = report

    @classmethod
    async def open(cls, state: Path, map_bytes: int, pack: PackBegin, ask: Ask, report: Report) -> Marker:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "springtide.engine.packing_child",
            str(state),
            str(map_bytes),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        marker = cls(process, ask, report)
        await marker._say(child.BEGIN, encode_pack(pack))
        return marker

    async def close(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()

    async def doomed(self) -> Bitmap:
        """What nothing refers to, once that is known."""
        return Bitmap.decode(await self._next(child.DOOMED))

    async def spare(self, oids: Bitmap) -> Bitmap:
        """These stay, and what they refer to; what nothing refers to then."""
        await self._say(child.SPARE, oids.encode())
        return await self.doomed()

    async def steps(self) -> AsyncIterator[PackStep]:
        await self._say(child.GO)
        while body := await self._next(child.STEP):
            step = decode_pack(body)
            assert isinstance(step, PackStep), "the child says steps"
            yield step

    async def _next(self, wanted: bytes) -> bytes:
        """The body of the next frame of this kind; none at the end. Raises PackRefused."""
        while True:
            kind, body = await self._hear()
            if kind == child.PROGRESS:
                self._report("looking for what goes", struct.unpack(">Q", body)[0], 0)
            elif kind == child.ASK:
                found = await self._ask(child.decode_records(body))
                await self._say(child.REFERRED, child.encode_references(found))
            elif kind == child.REFUSED:
                raise errors.PackRefused(body.decode())
            elif kind in (wanted, child.END):
                return body
            else:
                raise errors.PackRefused(f"the process that looks for what goes said {kind!r} instead of {wanted!r}")

    async def _hear(self) -> tuple[bytes, bytes]:
        try:
            kind, length = child.HEAD.unpack(await self._out.readexactly(child.HEAD.size))
            return kind, await self._out.readexactly(length)
        except asyncio.IncompleteReadError:
            code = await self._process.wait()
            raise errors.PackRefused(
                f"the process that looks for what goes ended with code {code}: pack again; see the log of this node"
            ) from None

    async def _say(self, kind: bytes, body: bytes = b"") -> None:
        self._in.write(child.HEAD.pack(kind, len(body)) + body)
        with suppress(ConnectionError):  # then it has ended, and the next thing to hear says so
            await self._in.drain()
