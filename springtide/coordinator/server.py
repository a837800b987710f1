"""``springtide coordinator``: the embedded store, served to the nodes of one machine over gRPC."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.embedded import Core
from springtide.coordinator.store import WATCH_REFRESH_SECONDS, RawView, decode_announcement
from springtide.wire.channels import SERVER_OPTIONS, Tls
from springtide.wire.malformed import Malformed
from springtide.wire.v1 import coordinator_pb2 as pb
from springtide.wire.v1 import coordinator_pb2_grpc as pb_grpc

#: What calls in flight get to end, when the server stops.
STOP_SECONDS = 0.5
SERVICE = "springtide.wire.v1.Coordinator"


class Serving:
    """A coordinator that answers at ``address``."""

    def __init__(self, core: Core, server: grpc.aio.Server, checks: health.aio.HealthServicer, host: str) -> None:
        self._core = core
        self._server = server
        self._checks = checks
        self._host = host
        #: The port that was bound, where 0 was asked for.
        self.port = 0
        self._stopped = asyncio.Event()
        #: Done once the disk failed: nothing can be swapped any more, and the process should end.
        self.failed: asyncio.Future[errors.DiskFailed] = asyncio.get_running_loop().create_future()

    @property
    def address(self) -> str:
        return f"{self._host}:{self.port}"

    async def start(self, address: str, tls: Tls | None) -> None:
        credentials = None if tls is None else tls.server()
        try:
            if credentials is None:
                self.port = self._server.add_insecure_port(address)
            else:
                self.port = self._server.add_secure_port(address, credentials)
        except RuntimeError:
            self.port = 0
        if self.port == 0:
            raise errors.Occupied(
                f"the coordinator cannot listen at {address}: another process does, or the address is not this "
                "machine's; stop that process or choose another address"
            )
        await self._server.start()
        for service in ("", SERVICE):
            await self._checks.set(service, health_pb2.HealthCheckResponse.SERVING)

    async def fail(self, error: errors.DiskFailed) -> None:
        if not self.failed.done():
            self.failed.set_result(error)
            await self._checks.enter_graceful_shutdown()

    async def wait(self) -> None:
        """Until the server was stopped. ``errors.DiskFailed`` once the disk failed."""
        stopped = asyncio.ensure_future(self._stopped.wait())
        either: set[asyncio.Future[Any]] = {stopped, self.failed}
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
        if self.failed.done():
            raise self.failed.result()

    async def stop(self) -> None:
        """Answer no more, and let go of the port and the file."""
        await self._checks.enter_graceful_shutdown()
        self._core.close()
        await self._server.stop(STOP_SECONDS)
        self._stopped.set()


async def serve(
    address: str, file: Path, *, tls: Tls | None = None, clock: Callable[[], float] = time.monotonic
) -> Serving:
    """Serve the store in ``file`` at ``address`` (host:port; port 0 takes a free one)."""
    core = Core(file, clock)
    server = grpc.aio.server(interceptors=(Malformed(),), options=SERVER_OPTIONS)
    checks = health.aio.HealthServicer()
    serving = Serving(core, server, checks, address.rpartition(":")[0])
    pb_grpc.add_CoordinatorServicer_to_server(_Servicer(core, serving), server)
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    try:
        await serving.start(address, tls)
    except BaseException:
        core.close()
        raise
    return serving


Context = Any  # grpc.aio.ServicerContext[request, response]


class _Servicer(pb_grpc.CoordinatorServicer):
    """The wire's side of ``Core``: bytes stay bytes, errors become status codes."""

    def __init__(self, core: Core, serving: Serving) -> None:
        self._core = core
        self._serving = serving

    async def Read(self, request: pb.CoordinatorReadRequest, context: Context) -> pb.CoordinatorView:
        async with _Answering(self._serving, context):
            return _to_wire(self._core.view(request.prefix))

    async def Watch(self, request: pb.CoordinatorReadRequest, context: Context) -> AsyncIterator[pb.CoordinatorView]:
        async with _Answering(self._serving, context):
            seen = self._core.view(request.prefix)
            while True:
                yield _to_wire(seen)
                seen = await self._core.wait(request.prefix, seen, WATCH_REFRESH_SECONDS)

    async def Swap(self, request: pb.CoordinatorSwapRequest, context: Context) -> pb.CoordinatorSwapAnswer:
        async with _Answering(self._serving, context):
            with _checked("record"):
                topology.decode(request.record)
            swapped = self._core.swap(request.prefix, request.record, request.expected_revision)
            return pb.CoordinatorSwapAnswer(swapped=swapped, view=_to_wire(self._core.view(request.prefix)))

    async def Announce(self, request: pb.CoordinatorAnnounceRequest, context: Context) -> pb.CoordinatorAnnounceAnswer:
        async with _Answering(self._serving, context):
            announcement = decode_announcement(request.announcement)
            if announcement is None or announcement.node != request.node:
                raise errors.BadRequest(f"what node {request.node!r} sent is no announcement of it")
            self._core.announce(request.prefix, request.node, request.announcement, request.ttl_seconds)
            return pb.CoordinatorAnnounceAnswer()

    async def Withdraw(self, request: pb.CoordinatorWithdrawRequest, context: Context) -> pb.CoordinatorWithdrawAnswer:
        async with _Answering(self._serving, context):
            self._core.withdraw(request.prefix, request.node, request.uptime)
            return pb.CoordinatorWithdrawAnswer()

    async def RaiseStarts(
        self, request: pb.CoordinatorRaiseStartsRequest, context: Context
    ) -> pb.CoordinatorRaiseStartsAnswer:
        async with _Answering(self._serving, context):
            starts = self._core.raise_starts(request.prefix, request.node, request.starts)
            return pb.CoordinatorRaiseStartsAnswer(starts=starts)


class _Answering:
    """Turns what is raised in the block into the status of the call."""

    def __init__(self, serving: Serving, context: Context) -> None:
        self._serving = serving
        self._context = context

    async def __aenter__(self) -> None:
        if self._serving.failed.done():
            await self._context.abort(grpc.StatusCode.INTERNAL, str(self._serving.failed.result()))

    async def __aexit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        match error:
            case errors.Rejected():
                await self._context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error))
            case errors.Unreachable():
                await self._context.abort(grpc.StatusCode.UNAVAILABLE, str(error))
            case errors.DiskFailed():
                await self._serving.fail(error)
                await self._context.abort(grpc.StatusCode.INTERNAL, str(error))


@contextmanager
def _checked(what: str) -> Iterator[None]:
    try:
        yield
    except errors.Damaged as error:
        raise errors.BadRequest(f"what was sent as a {what} is none: {error}") from error


def _to_wire(view: RawView) -> pb.CoordinatorView:
    return pb.CoordinatorView(
        revision=view.revision, record=view.record, announcements=view.announcements, starts=view.starts
    )
