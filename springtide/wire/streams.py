"""Feed streams over gRPC, as the Duplex that roles see."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc

from springtide import errors
from springtide.records import feed
from springtide.spool import FileSpool, Spool
from springtide.wire import WIRE_VERSION, channels, convert
from springtide.wire.reading import DownwardReader
from springtide.wire.v1 import replication_pb2, replication_pb2_grpc

#: A peer that does not accept a connection for this long is not there.
CONNECT_SECONDS = 2.0


class FollowerStream:
    """The follower's end: says Upward, hears Downward. An async context manager."""

    def __init__(self, address: str, tls: channels.Tls | None, stage: Callable[[], Spool] = FileSpool) -> None:
        """Large bodies are put together in what ``stage`` makes."""
        self._address = address
        self._channel = channels.asynchronous(address, tls)
        self._reader = DownwardReader(stage)
        self._call: Any = None

    async def __aenter__(self) -> FollowerStream:
        try:
            await channels.connected(self._channel, self._address, CONNECT_SECONDS)
        except BaseException:
            await self._channel.close()
            raise
        self._call = replication_pb2_grpc.ReplicationStub(self._channel).Feed()
        return self

    async def __aexit__(self, *exc: object) -> None:
        self._reader.forget()
        self._call.cancel()
        await self._channel.close()

    async def send(self, message: feed.Upward) -> None:
        try:
            await self._call.write(convert.upward_to_wire(message))
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            raise errors.Unreachable(f"the feed from {self._address} broke: {_say(error)}") from error

    async def receive(self) -> feed.Downward | None:
        try:
            message = await self._call.read()
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            raise errors.Unreachable(f"the feed from {self._address} broke: {_say(error)}") from error
        if message is grpc.aio.EOF:
            return None
        if self._reader.takes_time(message):
            return await asyncio.to_thread(self._reader.take, message)
        return self._reader.take(message)

    def close(self) -> None:
        self._call.cancel()


class PrimaryStream:
    """The primary's end, within a servicer's call: says Downward, hears Upward."""

    def __init__(self, context: Any) -> None:
        self._context = context
        self._closed = asyncio.Event()

    async def hello(self) -> feed.Hello:
        """The first message. Raises BadRequest or WrongVersion where it is none we can serve."""
        first = await self._context.read()
        if first is grpc.aio.EOF or first.WhichOneof("body") != "hello":
            raise errors.BadRequest("a feed begins with hello")
        if first.hello.wire_version != WIRE_VERSION:
            raise errors.WrongVersion(
                f"node {first.hello.member.node} speaks wire version {first.hello.wire_version}, this node "
                f"{WIRE_VERSION}: upgrade the older of the two"
            )
        hello = convert.upward_from_wire(first)
        assert isinstance(hello, feed.Hello)
        return hello

    async def send(self, message: feed.Downward) -> None:
        try:
            for part in convert.downward_to_wire(message):
                await self._context.write(part)
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            raise errors.Unreachable(f"the feed broke: {_say(error)}") from error

    async def receive(self) -> feed.Upward | None:
        reading = asyncio.ensure_future(self._context.read())
        closing = asyncio.ensure_future(self._closed.wait())
        try:
            await asyncio.wait((reading, closing), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                return None
            message: replication_pb2.FollowerMessage | object = reading.result()
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            raise errors.Unreachable(f"the feed broke: {_say(error)}") from error
        finally:
            reading.cancel()
            closing.cancel()
        if not isinstance(message, replication_pb2.FollowerMessage):
            return None
        return convert.upward_from_wire(message)

    def close(self) -> None:
        self._closed.set()


def _say(error: BaseException) -> str:
    if isinstance(error, grpc.aio.AioRpcError):
        return f"{error.code().name}: {error.details()}"
    return str(error) or type(error).__name__
