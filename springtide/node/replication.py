"""What this node offers to other nodes: its feed while it is primary, snapshots always."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import grpc

from springtide import errors
from springtide.engine import TABLES
from springtide.node.core import NodeCore
from springtide.primary import feeder
from springtide.records import feed
from springtide.records.position import Point
from springtide.wire import CHUNK_BYTES, convert
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

    async def Snapshot(self, request: pb.SnapshotRequest, context: Any) -> None:
        core, engine = self._core, self._engine
        if request.cluster != core.cluster or not engine.complete:
            await context.abort(
                grpc.StatusCode.FAILED_PRECONDITION,
                f"node {core.node} has no complete copy of cluster {request.cluster or '(unnamed)'} to give",
            )
        base, objects = await asyncio.to_thread(engine.export_begin)
        table, after = TABLES[0], b""
        asked = convert.point_from_wire(request.base) if request.HasField("base") else None
        if asked is not None and request.table in TABLES and self._continues(asked):
            base, table, after = asked, request.table, request.after
        await context.write(
            pb.SnapshotChunk(begin=pb.SnapshotBegin(base=convert.point_to_wire(base), format=1, objects=objects))
        )
        for name in TABLES[TABLES.index(table) :]:
            while rows := await asyncio.to_thread(engine.export, name, after, CHUNK_BYTES):
                for chunk in _chunks(name, rows):
                    await context.write(chunk)
                after = rows[-1][0]
            after = b""
        await context.write(pb.SnapshotChunk(end=pb.SnapshotEnd(complete_at=engine.applied)))

    def _continues(self, base: Point) -> bool:
        """Whether a copy begun at ``base`` can go on here: our log still leads from there, our state is not older."""
        return bool(self._engine.applied >= base.lsn and self._engine.point(base.lsn) == base)


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
