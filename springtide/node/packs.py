"""Packs that clients ask for, and what a primary packs by itself."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from springtide import errors
from springtide.node.answers import Answers
from springtide.node.core import NodeCore
from springtide.node.fields import tid_of
from springtide.primary.packing import nobody_knows
from springtide.records.ids import Oid
from springtide.records.packs import PackBegin
from springtide.wire.v1 import session_pb2 as pb

#: A client hears so often that its pack is at work, and takes much longer silence for an end of it.
REPORT_SECONDS = 1.0
#: Records that a client is asked about at once; one message holds them.
_ASKED_BYTES_MAX = 3 * 2**20


class PackRequests:
    """The packs of one session."""

    def __init__(self, core: NodeCore, answers: Answers) -> None:
        self._core = core
        self._answers = answers
        self._asked: dict[int, asyncio.Future[Sequence[pb.References]]] = {}

    async def pack(self, request: int, asked: pb.Pack) -> None:
        """Answered with progress, and in the end with Done. The pack goes on where the client goes away."""
        reign = self._core.reign
        if reign is None:
            raise self._core.not_primary()
        now = pb.PackProgress(doing="beginning")

        def report(doing: str, done: int, total: int) -> None:
            now.doing, now.done, now.total = doing, done, total

        async def ask(records: Sequence[tuple[Oid, bytes]]) -> Sequence[Sequence[Oid]]:
            return await self._ask(request, records)

        wanted = PackBegin(tid_of("tid", asked.tid), asked.gc, max(1, asked.keep_revisions))
        work = reign.packing.start(wanted, ask, report)
        try:
            while not work.done():
                self._answers.answer(request, pack_progress=now)
                await asyncio.wait((work,), timeout=REPORT_SECONDS)
        finally:
            waiting = self._asked.pop(request, None)
            if waiting is not None:
                waiting.cancel()
        if work.cancelled():
            raise errors.NotPrimary("the primary changed during the pack, which the next one goes on with")
        work.result()
        now.doing, now.packed = "done", self._core.disk.packed
        self._answers.answer(request, pack_progress=now)
        self._answers.answer(request, done=pb.Done())

    def referred(self, answer: pb.Referred) -> None:
        waiting = self._asked.get(answer.pack)
        if waiting is not None and not waiting.done():
            waiting.set_result(tuple(answer.records))

    async def _ask(self, request: int, records: Sequence[tuple[Oid, bytes]]) -> Sequence[Sequence[Oid]]:
        if sum(len(data) for _, data in records) > _ASKED_BYTES_MAX:
            return await nobody_knows(records)
        waiting = self._asked[request] = asyncio.get_running_loop().create_future()
        progress = pb.PackProgress(doing="asking what records refer to", records=[data for _, data in records])
        self._answers.answer(request, pack_progress=progress)
        try:
            found = await waiting
        except asyncio.CancelledError:
            if not waiting.cancelled():
                raise
            raise errors.PackRefused("the client that could read the records has gone: nothing was deleted") from None
        if len(found) != len(records):
            raise errors.PackRefused(f"the client answered for {len(found)} of {len(records)} records")
        for (name, _), said in zip(records, found, strict=True):
            if said.failure or len(said.oids) % 8:
                raise errors.PackRefused(
                    f"what the record of oid {name.hex()} refers to cannot be known, so nothing was deleted: "
                    f"{said.failure}; pack without garbage collection (gc=False)"
                )
        return [[Oid(said.oids[at : at + 8]) for at in range(0, len(said.oids), 8)] for said in found]
