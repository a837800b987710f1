"""What operators and tools ask: status, hand-over, digests, and reset for test suites."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from importlib.metadata import version
from typing import Any

import grpc

from springtide import errors
from springtide.coordinator.topology import Record
from springtide.node import operating
from springtide.node.answers import to_topology
from springtide.node.core import NodeCore
from springtide.node.sessions import Sessions
from springtide.records.ids import NodeId, Tid
from springtide.wire import convert
from springtide.wire.v1 import admin_pb2 as pb
from springtide.wire.v1 import admin_pb2_grpc

_STATUS = {
    errors.NotPrimary: grpc.StatusCode.FAILED_PRECONDITION,
    # Not UNAVAILABLE: that is what gRPC itself says where nobody answers.
    errors.TryAgain: grpc.StatusCode.ABORTED,
    errors.Rejected: grpc.StatusCode.INVALID_ARGUMENT,
    errors.Damaged: grpc.StatusCode.DATA_LOSS,
}


async def _abort(context: Any, error: errors.SpringtideError) -> None:
    code = next((code for kind, code in _STATUS.items() if isinstance(error, kind)), grpc.StatusCode.INTERNAL)
    await context.abort(code, str(error))


def _note(core: NodeCore) -> str:
    said = core.elector.trouble or core.note if core.elector is not None else core.note
    stale = "what is read here may be old: nothing is heard of a primary that reigns" if core.stale else ""
    return "; ".join(each for each in (said, stale) if each)


class Admin(admin_pb2_grpc.AdminServicer):
    def __init__(
        self,
        core: NodeCore,
        engine: Any,
        sessions: Sessions,
        peers: operating.Peers,
        reset: Callable[[int], Awaitable[None]] | None,
    ) -> None:
        """``reset`` is None unless the configuration allows it."""
        self._core = core
        self._engine = engine
        self._sessions = sessions
        self._peers = peers
        self._reset = reset

    async def Status(self, request: pb.StatusRequest, context: Any) -> pb.StatusAnswer:
        core, engine, now = self._core, self._engine, asyncio.get_running_loop().time()
        record = core.record
        in_sync = record.in_sync if record is not None else frozenset()
        reign = core.reign
        followers = [
            pb.FollowerStatus(
                member=convert.member_to_wire(follower.member),
                durable=follower.acked,
                applied=follower.applied,
                acked_seconds_ago=now - follower.heard_at,
                in_sync=follower.member in in_sync,
            )
            for follower in (reign.followers.values() if reign is not None else ())
        ]
        return pb.StatusAnswer(
            node=core.node,
            cluster=core.cluster,
            history=core.history,
            incarnation=core.me.incarnation,
            uptime=core.uptime,
            role=core.role,
            epoch=engine.identity.promised,
            record_epoch=record.epoch if record is not None else 0,
            in_sync=[convert.member_to_wire(member) for member in sorted(in_sync)],
            min_in_sync=record.minimum if record is not None else 0,
            last=convert.point_to_wire(engine.last),
            commit=engine.commit_lsn,
            applied=engine.applied,
            last_tid=engine.commit_tid,
            topology=to_topology(core.topology()),
            version=version("springtide"),
            reads_served=self._sessions.reads_served,
            followers=followers,
            store_reachable=core.elector is not None and core.elector.store_reachable,
            note=_note(core),
            diverged=engine.diverged(),
            packs=engine.packs,
            packing=engine.packing is not None,
        )

    async def HandOver(self, request: pb.HandOverRequest, context: Any) -> pb.HandOverAnswer:
        try:
            record = await self._core.hand_over(NodeId(request.to) if request.to else None)
        except errors.SpringtideError as error:
            await _abort(context, error)
            raise
        return pb.HandOverAnswer(epoch=record.epoch, primary=record.primary.node)

    async def SetMinimum(self, request: pb.SetMinimumRequest, context: Any) -> pb.ChangedAnswer:
        return await self._changed(operating.set_minimum(self._core, request.minimum, request.epoch or None), context)

    async def Remove(self, request: pb.RemoveRequest, context: Any) -> pb.ChangedAnswer:
        return await self._changed(operating.remove(self._core, NodeId(request.node)), context)

    async def _changed(self, change: Coroutine[Any, Any, Record], context: Any) -> pb.ChangedAnswer:
        try:
            record = await change
        except errors.SpringtideError as error:
            await _abort(context, error)
            raise
        members = [convert.member_to_wire(member) for member in sorted(record.in_sync)]
        return pb.ChangedAnswer(epoch=record.epoch, min_in_sync=record.minimum, in_sync=members)

    async def Force(self, request: pb.ForceRequest, context: Any) -> pb.ForceAnswer:
        try:
            off = [NodeId(node) for node in request.off]
            forced = await operating.force(self._core, self._peers, request.epoch, off)
        except errors.SpringtideError as error:
            await _abort(context, error)
            raise
        record = forced.record
        return pb.ForceAnswer(
            epoch=record.epoch, history=record.history, fenced=forced.fenced, unfenced=forced.unfenced
        )

    async def Fence(self, request: pb.FenceRequest, context: Any) -> pb.FenceAnswer:
        try:
            return pb.FenceAnswer(reigns=await operating.fence(self._core, request.cluster, request.epoch))
        except errors.SpringtideError as error:
            await _abort(context, error)
            raise

    async def Digests(self, request: pb.DigestsRequest, context: Any) -> None:
        try:
            await self._core.until_tid(Tid(request.through), 10.0)
            await self._engine.until_applied(self._engine.commit_lsn)
            ranges = self._engine.digests(
                Tid(request.through),
                request.first_oid,
                request.last_oid,
                request.range_records or 10_000,
                transactions=request.transactions,
            )
            while (found := await asyncio.to_thread(next, ranges, None)) is not None:
                await context.write(
                    pb.RangeDigest(first=found.first, last=found.last, records=found.records, digest=found.digest)
                )
        except errors.SpringtideError as error:
            await _abort(context, error)

    async def CheckFiles(self, request: pb.CheckFilesRequest, context: Any) -> None:
        try:
            await self._core.until_tid(Tid(request.through), 10.0)
            await self._engine.until_applied(self._engine.commit_lsn)
            async for files, size, problems in self._engine.blobs.check(Tid(request.through)):
                await context.write(pb.FilesChecked(files=files, bytes=size, problems=problems))
        except errors.SpringtideError as error:
            await _abort(context, error)

    async def Compact(self, request: pb.CompactRequest, context: Any) -> None:
        before = self._engine.size_bytes()
        work = asyncio.ensure_future(self._engine.compact())
        try:
            while not work.done():
                written = self._engine.compacted_bytes()
                await context.write(pb.CompactProgress(before=before, written=written))
                await asyncio.wait((work,), timeout=1.0)
            before, after = work.result()
        except errors.SpringtideError as error:
            await _abort(context, error)
            raise
        await context.write(pb.CompactProgress(before=before, written=after, after=after))

    async def Reset(self, request: pb.ResetRequest, context: Any) -> pb.ResetAnswer:
        if self._reset is None:
            await context.abort(
                grpc.StatusCode.PERMISSION_DENIED,
                f"node {self._core.node} is not meant to be emptied: only test clusters set allow_reset",
            )
        else:
            await self._reset(request.generation)
        return pb.ResetAnswer()
