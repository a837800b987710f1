"""The gRPC server of a node's process, and the switch that hands each call to the node that is there now."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from springtide import errors
from springtide.node.admin import Admin
from springtide.node.config import NodeConfig
from springtide.node.replication import Replication
from springtide.node.sessions import Sessions
from springtide.wire import channels
from springtide.wire.malformed import Malformed
from springtide.wire.v1 import (
    admin_pb2,
    admin_pb2_grpc,
    replication_pb2,
    replication_pb2_grpc,
    session_pb2,
    session_pb2_grpc,
)

#: What calls in flight get to end, when the node stops.
STOP_SECONDS = 1.0
SERVICES = (
    session_pb2.DESCRIPTOR.services_by_name["Storage"].full_name,
    replication_pb2.DESCRIPTOR.services_by_name["Replication"].full_name,
    admin_pb2.DESCRIPTOR.services_by_name["Admin"].full_name,
)


class Server:
    """The gRPC server of a process. It outlives a reset: then its services speak for the next node."""

    def __init__(self, config: NodeConfig) -> None:
        self._config = config
        self._server = grpc.aio.server(interceptors=(Malformed(),), options=channels.SERVER_OPTIONS)
        self._checks = health.aio.HealthServicer()
        self._services = _Switch()
        self.port = 0
        self._serves = True
        self._shown: asyncio.Future[None] | None = None

    @property
    def address(self) -> str:
        if self._config.advertise:
            return self._config.advertise
        return f"{self._config.bind.rpartition(':')[0]}:{self.port}"

    async def bind(self) -> None:
        config, server = self._config, self._server
        tls = None if config.tls is None else channels.Tls(config.tls.ca, config.tls.cert, config.tls.key).server()
        with suppress(RuntimeError):
            self.port = server.add_secure_port(config.bind, tls) if tls else server.add_insecure_port(config.bind)
        if self.port == 0:
            raise errors.Occupied(
                f"node {config.node} cannot listen at {config.bind}: another process does, or the address is not "
                "this machine's; stop that process or change bind"
            )

    def serve(self, storage: Sessions, replication: Replication, admin: Admin) -> None:
        """From now on these answer requests."""
        self._services.storage = storage
        self._services.replication = replication
        self._services.admin = admin

    async def start(self) -> None:
        services = self._services
        session_pb2_grpc.add_StorageServicer_to_server(services, self._server)
        replication_pb2_grpc.add_ReplicationServicer_to_server(services, self._server)
        admin_pb2_grpc.add_AdminServicer_to_server(services, self._server)
        health_pb2_grpc.add_HealthServicer_to_server(self._checks, self._server)
        reflection.enable_server_reflection((*SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), self._server)
        await self._server.start()
        for service in ("", *SERVICES):
            await self._checks.set(service, health_pb2.HealthCheckResponse.SERVING)
        print(f"springtide node {self._config.node}: serving at {self.address}", flush=True)

    def show(self, serves: bool) -> None:
        """Balancers may ask whether clients are served well here: not where what is read may be old.

        Of the process as a whole, which a supervisor asks for, this says nothing: it is well.
        """
        if serves != self._serves:
            self._serves = serves
            state = health_pb2.HealthCheckResponse
            self._shown = asyncio.ensure_future(
                self._checks.set(SERVICES[0], state.SERVING if serves else state.NOT_SERVING)
            )

    async def refuse_new(self) -> None:
        """Tell balancers to go elsewhere."""
        await self._checks.enter_graceful_shutdown()

    async def stop(self) -> None:
        await self._server.stop(STOP_SECONDS)


class _Switch:
    """Hands each call to the services of the node that is there now."""

    storage: Sessions
    replication: Replication
    admin: Admin

    async def Session(self, request: object, context: object) -> None:
        await self.storage.Session(request, context)

    async def StoreBlob(self, request: object, context: object) -> session_pb2.BlobStored:
        return await self.storage.StoreBlob(request, context)

    async def FetchBlob(self, request: session_pb2.FetchBlobRequest, context: object) -> None:
        await self.storage.FetchBlob(request, context)

    async def Iterate(self, request: session_pb2.IterateRequest, context: object) -> None:
        await self.storage.Iterate(request, context)

    async def Feed(self, request: object, context: object) -> None:
        await self.replication.Feed(request, context)

    async def Snapshot(self, request: object, context: object) -> None:
        await self.replication.Snapshot(request, context)  # type: ignore[arg-type]

    async def Blob(self, request: replication_pb2.BlobRequest, context: object) -> None:
        await self.replication.Blob(request, context)

    async def Status(self, request: admin_pb2.StatusRequest, context: object) -> admin_pb2.StatusAnswer:
        return await self.admin.Status(request, context)

    async def HandOver(self, request: admin_pb2.HandOverRequest, context: object) -> admin_pb2.HandOverAnswer:
        return await self.admin.HandOver(request, context)

    async def SetMinimum(self, request: admin_pb2.SetMinimumRequest, context: object) -> admin_pb2.ChangedAnswer:
        return await self.admin.SetMinimum(request, context)

    async def Remove(self, request: admin_pb2.RemoveRequest, context: object) -> admin_pb2.ChangedAnswer:
        return await self.admin.Remove(request, context)

    async def Force(self, request: admin_pb2.ForceRequest, context: object) -> admin_pb2.ForceAnswer:
        return await self.admin.Force(request, context)

    async def Fence(self, request: admin_pb2.FenceRequest, context: object) -> admin_pb2.FenceAnswer:
        return await self.admin.Fence(request, context)

    async def Digests(self, request: admin_pb2.DigestsRequest, context: object) -> None:
        await self.admin.Digests(request, context)

    async def CheckFiles(self, request: admin_pb2.CheckFilesRequest, context: object) -> None:
        await self.admin.CheckFiles(request, context)

    async def Compact(self, request: admin_pb2.CompactRequest, context: object) -> None:
        await self.admin.Compact(request, context)

    async def Reset(self, request: admin_pb2.ResetRequest, context: object) -> admin_pb2.ResetAnswer:
        return await self.admin.Reset(request, context)
