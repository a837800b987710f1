"""Reaching other nodes over gRPC."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import grpc

from springtide import errors
from springtide.records.blobs import Named
from springtide.records.snapshot import Begin, End, Resume, Rows, SnapshotMessage
from springtide.replica.ports import Gone
from springtide.spool import FileSpool, Spool
from springtide.wire import channels, convert, status
from springtide.wire.streams import FollowerStream
from springtide.wire.v1 import admin_pb2, admin_pb2_grpc, replication_pb2_grpc
from springtide.wire.v1 import replication_pb2 as pb

#: A file of which nothing arrives for this long is given up, and resumed later.
FILE_SILENCE_SECONDS = 10.0
#: A snapshot of which nothing arrives for this long is given up, and resumed later.
SNAPSHOT_SILENCE_SECONDS = 30.0


class GrpcPeers:
    """The ``Peers`` of a real node."""

    def __init__(self, tls: channels.Tls | None, stage: Callable[[], Spool] = FileSpool) -> None:
        """``stage`` makes files for large bodies."""
        self._tls = tls
        self._stage = stage
        #: Connections for files, which many come over one after the other.
        self._channels: dict[str, grpc.aio.Channel] = {}

    def feed(self, address: str) -> FollowerStream:
        return FollowerStream(address, self._tls, self._stage)

    async def snapshot(self, address: str, cluster: str, resume: Resume | None) -> AsyncIterator[SnapshotMessage]:
        request = pb.SnapshotRequest(cluster=cluster)
        if resume is not None:
            request.base.CopyFrom(convert.point_to_wire(resume.base))
            request.table, request.after = resume.table, resume.after
        reader = _RowReader()
        async with channels.asynchronous(address, self._tls) as channel:
            call = replication_pb2_grpc.ReplicationStub(channel).Snapshot(request)
            try:
                while True:
                    async with asyncio.timeout(SNAPSHOT_SILENCE_SECONDS):
                        chunk = await call.read()
                    if chunk is grpc.aio.EOF:
                        return
                    message = reader.take(chunk)
                    if message is not None:
                        yield message
            except (grpc.RpcError, TimeoutError) as error:
                raise errors.Unreachable(f"the snapshot from {address} broke: {error}") from error

    async def blob(self, address: str, cluster: str, named: Named, offset: int) -> AsyncGenerator[bytes, None]:
        request = pb.BlobRequest(cluster=cluster, name=convert.name_to_wire(named), offset=offset)
        if address not in self._channels:
            self._channels[address] = channels.asynchronous(address, self._tls)
        call = replication_pb2_grpc.ReplicationStub(self._channels[address]).Blob(request)
        try:
            while True:
                async with asyncio.timeout(FILE_SILENCE_SECONDS):
                    message = await call.read()
                if message is grpc.aio.EOF:
                    return
                match message.WhichOneof("body"):
                    case "data":
                        yield message.data
                    case "gone":
                        raise Gone
                    case _:
                        raise status.from_wire(message.error)
        except (grpc.RpcError, TimeoutError) as error:
            raise errors.Unreachable(f"blob {named.blob.id.hex()} from {address} broke off: {error}") from error
        finally:
            call.cancel()

    async def fence(self, address: str, cluster: str, epoch: int, seconds: float) -> bool:
        request = admin_pb2.FenceRequest(cluster=cluster, epoch=epoch)
        async with channels.asynchronous(address, self._tls) as channel:
            try:
                answer = await admin_pb2_grpc.AdminStub(channel).Fence(request, timeout=seconds)
            except grpc.RpcError as error:
                raise errors.Unreachable(f"{address} promises nothing: {error}") from error
        return bool(answer.reigns)

    async def close(self) -> None:
        for channel in self._channels.values():
            await channel.close()

    async def refuses(self, address: str) -> bool:
        host, _, port = address.rpartition(":")
        try:
            async with asyncio.timeout(1.0):
                _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
        except OSError as error:
            refused = error.errno == errno.ECONNREFUSED
            many = isinstance(error, OSError) and "Multiple exceptions" in str(error) and "refused" in str(error)
            return refused or many
        writer.close()
        return False


class _RowReader:
    """Puts cut rows together again."""

    def __init__(self) -> None:
        self._key = b""
        self._parts: list[bytes] = []

    def take(self, chunk: pb.SnapshotChunk) -> SnapshotMessage | None:
        match chunk.WhichOneof("body"):
            case "begin":
                return Begin(convert.point_from_wire(chunk.begin.base), chunk.begin.objects)
            case "end":
                return End(chunk.end.complete_at)
            case "rows":
                rows = self._rows(chunk.rows)
                return Rows(chunk.rows.table, rows) if rows else None
            case other:
                raise errors.BadRequest(f"a snapshot contains something unknown ({other})")

    def _rows(self, message: pb.SnapshotRows) -> tuple[tuple[bytes, bytes], ...]:
        rows = []
        for row in message.rows:
            if self._parts or row.more:
                self._parts.append(row.value)
                if row.more:
                    continue
                rows.append((row.key, b"".join(self._parts)))
                self._parts = []
            else:
                rows.append((row.key, row.value))
        return tuple(rows)
