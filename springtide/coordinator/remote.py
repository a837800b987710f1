"""The ``Store`` that asks ``springtide coordinator`` over gRPC.

A call is tried once, with a deadline: whether to try again is the caller's
decision. Only watching goes on by itself, since a view is whole and the newest
whenever it arrives.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from typing import TypeVar

import grpc

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.store import (
    WATCH_REFRESH_SECONDS,
    Announcement,
    RawView,
    Refused,
    Swapped,
    View,
    check_name,
    encode_announcement,
    settle,
)
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId
from springtide.wire import channels
from springtide.wire.v1 import coordinator_pb2 as pb
from springtide.wire.v1 import coordinator_pb2_grpc as pb_grpc

Answer = TypeVar("Answer")

#: The server repeats itself more often than that, so a silent stream is a dead one.
WATCH_IDLE_SECONDS = 3 * WATCH_REFRESH_SECONDS
#: Between two tries to watch.
PAUSE_SECONDS = 0.2


class RemoteStore:
    def __init__(
        self, address: str, name: str, *, tls: channels.Tls | None = None, attempt_seconds: float = 1.0
    ) -> None:
        self._address = address
        self._name = check_name(name)
        self._attempt_seconds = attempt_seconds
        self._closed = False
        self._channel = channels.asynchronous(address, tls)
        self._stub = pb_grpc.CoordinatorStub(self._channel)

    async def read(self) -> View:
        request = pb.CoordinatorReadRequest(prefix=self._name)
        return _view(await self._ask(lambda: self._stub.Read(request, timeout=self._attempt_seconds)))

    async def watch(self) -> AsyncIterator[View]:
        shown: View | None = None
        while True:
            async with contextlib.aclosing(self._watch_once()) as views:
                async for view in views:
                    if view != shown:
                        shown = view
                        yield view
            await asyncio.sleep(PAUSE_SECONDS)

    async def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        request = pb.CoordinatorSwapRequest(
            prefix=self._name, expected_revision=expected_revision, record=topology.encode(record)
        )
        try:
            answer: pb.CoordinatorSwapAnswer = await self._ask(
                lambda: self._stub.Swap(request, timeout=self._attempt_seconds)
            )
        except errors.Unreachable:
            # Never sent twice from here: it may have landed. The record may tell.
            settled = settle(await self.read(), record, expected_revision)
            if settled is None:
                raise
            return settled
        view = _view(answer.view)
        return Swapped(view) if answer.swapped else Refused(view)

    async def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        request = pb.CoordinatorAnnounceRequest(
            prefix=self._name,
            node=announcement.node,
            announcement=encode_announcement(announcement),
            ttl_seconds=ttl_seconds,
        )
        await self._ask(lambda: self._stub.Announce(request, timeout=self._attempt_seconds))

    async def withdraw(self, node: NodeId, uptime: str) -> None:
        request = pb.CoordinatorWithdrawRequest(prefix=self._name, node=node, uptime=uptime)
        await self._ask(lambda: self._stub.Withdraw(request, timeout=self._attempt_seconds))

    async def raise_starts(self, node: NodeId, starts: int) -> int:
        request = pb.CoordinatorRaiseStartsRequest(prefix=self._name, node=node, starts=starts)
        answer: pb.CoordinatorRaiseStartsAnswer = await self._ask(
            lambda: self._stub.RaiseStarts(request, timeout=self._attempt_seconds)
        )
        return answer.starts

    async def close(self) -> None:
        self._closed = True
        await self._channel.close()

    async def _ask(self, call: Callable[[], Awaitable[Answer]]) -> Answer:
        self._check_open()
        try:
            return await call()
        except grpc.aio.AioRpcError as error:
            raise self._translated(error) from error
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise

    async def _watch_once(self) -> AsyncGenerator[View, None]:
        """Views until the stream breaks or falls silent."""
        self._check_open()
        call = self._stub.Watch(pb.CoordinatorReadRequest(prefix=self._name))
        try:
            while True:
                # Not wait_for: before Python 3.12 it can swallow a cancellation that meets an answer.
                async with asyncio.timeout(WATCH_IDLE_SECONDS):
                    answer = await call.read()
                if answer is grpc.aio.EOF:
                    return
                yield _view(answer)
        except TimeoutError:
            return
        except grpc.aio.AioRpcError as error:
            translated = self._translated(error)
            if not isinstance(translated, errors.Unreachable):
                raise translated from error
        except asyncio.CancelledError:
            self._raise_if_closed()
            raise
        finally:
            call.cancel()

    def _check_open(self) -> None:
        if self._closed:
            raise errors.Unreachable("this node's connection to the coordinator is closed")

    def _raise_if_closed(self) -> None:
        """A call that ends because the channel was closed looks like a cancelled task, and is none."""
        task = asyncio.current_task()
        if self._closed and (task is None or not task.cancelling()):
            self._check_open()

    def _translated(self, error: grpc.aio.AioRpcError) -> errors.SpringtideError:
        if error.code() is grpc.StatusCode.INVALID_ARGUMENT:
            return errors.BadRequest(f"the coordinator at {self._address} refuses: {error.details()}")
        return errors.Unreachable(
            f"the coordinator at {self._address} does not answer: {error.code().name} {error.details()}"
        )


def _view(view: pb.CoordinatorView) -> View:
    return RawView(view.revision, view.record, dict(view.announcements), dict(view.starts)).decoded()
