"""What this node offers to other nodes: its feed while it is primary, snapshots always."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from contextlib import aclosing
from typing import Any

import grpc

from springtide import errors
from springtide.engine import TABLES, Export
from springtide.node.core import NodeCore
from springtide.node.reigning import PIN_SECONDS
from springtide.primary import feeder
from springtide.records import feed
from springtide.records.position import Point
from springtide.wire import CHUNK_BYTES, convert, status
from springtide.wire.streams import PrimaryStream
from springtide.wire.v1 import replication_pb2 as pb
from springtide.wire.v1 import replication_pb2_grpc

log = logging.getLogger(__name__)


class Replication(replication_pb2_grpc.ReplicationServicer):
    def __init__(self, core: NodeCore, engine: Any) -> None:
        self._core = core
        self._engine = engine

    async def Feed(self, request_iterator: Any, context: Any) -> None:
        stream = PrimaryStream(context)
        try:
            hello = await stream.hello()
            reign = self._core.reign
            if reign is None:
                epoch = self._core.disk.identity.promised
                await stream.send(feed.Refused(f"node {self._core.node} is not the primary", epoch))
                return
            await feeder.serve(reign, stream, hello, self._core.cluster, self._core.history, self._core.uptime)
        except errors.Unreachable:
            pass  # the follower is gone; it comes back by itself
        except (errors.Rejected, ValueError) as error:
            log.error("a follower was sent away: %s", error)
            await stream.send(feed.Refused(str(error), 0))

    async def Blob(self, request: pb.BlobRequest, context: Any) -> None:
        core, blobs = self._core, self._engine.blobs
        try:
            if request.cluster != core.cluster:
                raise errors.WrongCluster(f"node {core.node} is of cluster {core.cluster}, not of {request.cluster}")
            file = await blobs.find(convert.name_from_wire(request.name))
            if file is None:
                await context.write(pb.BlobData(gone=True))
                return
            async with aclosing(blobs.read(file, request.offset)) as content:
                async for data in content:
                    await context.write(pb.BlobData(data=data))
        except errors.SpringtideError as error:
            await context.write(pb.BlobData(error=status.to_wire(error)))

    async def Snapshot(self, request: pb.SnapshotRequest, context: Any) -> None:
        core, engine = self._core, self._engine
        try:
            if request.cluster != core.cluster:
                raise errors.WrongCluster(f"node {core.node} is of cluster {core.cluster}, not of {request.cluster}")
            export: Export = await asyncio.to_thread(engine.open_export)
            start = self._start(export, request)
            pin = engine.pin(start[0].lsn)
            try:
                await self._send(export, *start, context)
            finally:
                asyncio.get_running_loop().call_later(PIN_SECONDS, engine.unpin, pin)
        except errors.SpringtideError as error:
            await context.abort(grpc.StatusCode.UNAVAILABLE, f"node {core.node} gives no snapshot: {error}")

    def _start(self, export: Export, request: pb.SnapshotRequest) -> tuple[Point, str, bytes]:
        """Where to begin: where an interrupted copy ended, if our log and our state lead on from there."""
        asked = convert.point_from_wire(request.base) if request.HasField("base") else None
        if asked is not None and request.table in TABLES:
            continues = export.applied() >= asked.lsn and self._engine.point(asked.lsn) == asked
            if continues and asked.lsn >= self._engine.oldest.lsn:
                return asked, request.table, request.after
        return export.base, TABLES[0], b""

    async def _send(self, export: Export, base: Point, table: str, after: bytes, context: Any) -> None:
        begin = pb.SnapshotBegin(base=convert.point_to_wire(base), format=1, objects=export.objects)
        await context.write(pb.SnapshotChunk(begin=begin))
        for name in TABLES[TABLES.index(table) :]:
            while rows := await asyncio.to_thread(export.read, name, after, CHUNK_BYTES):
                for chunk in _chunks(name, rows):
                    await context.write(chunk)
                after = rows[-1][0]
            after = b""
        await context.write(pb.SnapshotChunk(end=pb.SnapshotEnd(complete_at=await asyncio.to_thread(export.applied))))


def _chunks(table: str, rows: Sequence[tuple[bytes, bytes]]) -> Iterator[pb.SnapshotChunk]:
    message, size = pb.SnapshotRows(table=table), 0
    for key, value in rows:
        for part, more in convert.pieces(value):
            if size and size + len(part) > CHUNK_BYTES:
                yield pb.SnapshotChunk(rows=message)
                message, size = pb.SnapshotRows(table=table), 0
            message.rows.add(key=key, value=part, more=more)
            size += len(part) + len(key)
    yield pb.SnapshotChunk(rows=message)
