"""Calls to an etcd cluster: several endpoints, deadlines, a password, and answers that may be believed.

A call goes to one endpoint at a time. One that may be repeated goes on to the
next; one that may not ends with ``errors.Unreachable``, and its outcome is unknown.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from aetcd.rpc import rpc_pb2, rpc_pb2_grpc

from springtide import errors
from springtide.wire.channels import Tls

log = logging.getLogger(__name__)

OPTIONS: tuple[tuple[str, Any], ...] = (
    # etcd refuses pings that come more often than every 5 s, or without a stream.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 3_000),
    ("grpc.keepalive_permit_without_calls", 0),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    # gRPC's own retries would repeat what must not be repeated.
    ("grpc.enable_retries", 0),
    ("grpc.use_local_subchannel_pool", 1),
)
#: An endpoint in election answers at once that it has no leader: between two rounds of tries.
PAUSE_SECONDS = 0.1
#: They can lose what they acknowledged (their release notes say so).
UNSAFE_VERSIONS = ("3.5.0", "3.5.1", "3.5.2")

_STALE_TOKEN = ("invalid auth token", "revision of auth store is old", "user name is empty")


@dataclass(slots=True)
class Endpoint:
    """One member of the etcd cluster, as reached from here."""

    address: str
    channel: grpc.aio.Channel
    kv: Any = field(init=False)
    lease: Any = field(init=False)
    watch: Any = field(init=False)
    auth: Any = field(init=False)
    maintenance: Any = field(init=False)
    checked: bool = False

    def __post_init__(self) -> None:
        self.kv = rpc_pb2_grpc.KVStub(self.channel)
        self.lease = rpc_pb2_grpc.LeaseStub(self.channel)
        self.watch = rpc_pb2_grpc.WatchStub(self.channel)
        self.auth = rpc_pb2_grpc.AuthStub(self.channel)
        self.maintenance = rpc_pb2_grpc.MaintenanceStub(self.channel)


class Guard:
    """Remembers whose answers these are: one cluster's, whose raft term only grows."""

    def __init__(self) -> None:
        self.cluster_id = 0
        self.raft_term = 0

    def check(self, address: str, header: Any) -> None:
        """``errors.Unreachable`` if this answer is another cluster's, or of a member that was left behind."""
        if self.cluster_id and header.cluster_id != self.cluster_id:
            raise errors.Unreachable(
                f"etcd at {address} is of cluster {header.cluster_id:x}, not {self.cluster_id:x}: it was wiped or "
                "is another one. Correct the endpoints, or restart the nodes if this is the one that is meant"
            )
        if header.raft_term < self.raft_term:
            raise errors.Unreachable(
                f"etcd at {address} answers from term {header.raft_term}, after term {self.raft_term}: it is cut "
                "off, or was put back to an older state"
            )
        self.cluster_id = header.cluster_id
        self.raft_term = header.raft_term


class Calls:
    def __init__(
        self,
        endpoints: Sequence[str],
        *,
        tls: Tls | None = None,
        user: str = "",
        password: str = "",
        attempt_seconds: float = 1.0,
        total_seconds: float = 2.5,
    ) -> None:
        """``total_seconds`` bounds what is repeated, ``attempt_seconds`` each try."""
        if not endpoints:
            raise errors.ConfigError("no etcd endpoint is configured")
        self._endpoints = [Endpoint(address, _channel(address, tls)) for address in endpoints]
        self._user = user
        self._password = password
        self._attempt_seconds = attempt_seconds
        self._total_seconds = total_seconds
        self._token = ""
        self._guard = Guard()
        #: How often a call went on to another endpoint, for metrics.
        self.failovers = 0
        self._closing = asyncio.Event()

    @property
    def closed(self) -> bool:
        return self._closing.is_set()

    @property
    def endpoint(self) -> Endpoint:
        """The one that is asked next."""
        return self._endpoints[0]

    def rotate(self, failed: Endpoint) -> None:
        """Ask the next endpoint from now on, unless somebody has moved on from ``failed`` already."""
        if self.endpoint is failed and len(self._endpoints) > 1:
            self._endpoints.append(self._endpoints.pop(0))
            self.failovers += 1
            log.info("going on from etcd at %s to %s", failed.address, self.endpoint.address)

    async def repeated(self, call: Callable[[Endpoint, dict[str, Any]], Awaitable[Any]]) -> Any:
        """The answer to a call that does no harm when it is made twice. The newest error, if none comes in time."""
        clock = asyncio.get_running_loop().time
        give_up, tries = clock() + self._total_seconds, 0
        while True:
            try:
                return await self.once(call)
            except errors.Unreachable:
                tries += 1
                pause = PAUSE_SECONDS if tries % len(self._endpoints) == 0 else 0.0
                if self.closed or clock() + pause >= give_up:
                    raise
                await asyncio.sleep(pause)

    async def once(self, call: Callable[[Endpoint, dict[str, Any]], Awaitable[Any]]) -> Any:
        """The answer to a call. ``errors.Unreachable`` if none came: it may have been carried out.

        A refused token is the one case that is tried again: then nothing was carried out.
        """
        for last in (False, True):
            self.check_open()
            endpoint = self.endpoint
            try:
                options = {"metadata": await self.metadata(endpoint), "timeout": self._attempt_seconds}
                answer = await call(endpoint, options)
                self.believe(endpoint, answer.header)
            except grpc.aio.AioRpcError as error:
                if self.token_refused(error) and not last:
                    continue
                self.rotate(endpoint)
                raise unreachable(endpoint, error) from error
            except errors.Unreachable:
                self.rotate(endpoint)
                raise
            except asyncio.CancelledError:
                self.raise_if_closed()
                raise
            await self._check_version(endpoint)
            return answer
        raise AssertionError("the second try returns or raises")

    def believe(self, endpoint: Endpoint, header: Any) -> None:
        self._guard.check(endpoint.address, header)

    async def metadata(self, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        """What every call carries: no answers from a member without a leader, and who asks."""
        if self._user and not self._token:
            request = rpc_pb2.AuthenticateRequest(name=self._user, password=self._password)
            answer = await endpoint.auth.Authenticate(request, timeout=self._attempt_seconds)
            self._token = answer.token
        token = (("token", self._token),) if self._token else ()
        return (("hasleader", "true"), *token)

    def token_refused(self, error: grpc.aio.AioRpcError) -> bool:
        """Whether the call failed only because its token is too old. The next one is made anew."""
        details = error.details() or ""
        refused = error.code() is grpc.StatusCode.UNAUTHENTICATED or any(text in details for text in _STALE_TOKEN)
        if refused:
            self._token = ""
        return refused and bool(self._user)

    async def _check_version(self, endpoint: Endpoint) -> None:
        """Warn of a server version that is known to lose data, once for each endpoint."""
        if endpoint.checked:
            return
        endpoint.checked = True
        try:
            options = {"metadata": await self.metadata(endpoint), "timeout": self._attempt_seconds}
            status = await endpoint.maintenance.Status(rpc_pb2.StatusRequest(), **options)
        except grpc.aio.AioRpcError as error:
            log.info("etcd at %s does not tell its version: %s", endpoint.address, error.details())
            return
        if status.version in UNSAFE_VERSIONS:
            log.warning(
                "etcd at %s has version %s, which can lose acknowledged writes after a crash: upgrade it to 3.5.28, "
                "3.6.9 or later",
                endpoint.address,
                status.version,
            )

    async def wait(self, *steps: asyncio.Future[Any], seconds: float) -> bool:
        """Whether one of ``steps`` was done in time. ``errors.Unreachable`` once this is closed.

        A stream whose channel is closed as it begins may never end by itself.
        """
        closing = asyncio.ensure_future(self._closing.wait())
        try:
            done, _ = await asyncio.wait({*steps, closing}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            self.check_open()
            return bool(done)
        finally:
            closing.cancel()

    async def close(self) -> None:
        self._closing.set()
        for endpoint in self._endpoints:
            await endpoint.channel.close()

    def check_open(self) -> None:
        if self.closed:
            raise errors.Unreachable("this node's connection to etcd is closed")

    def raise_if_closed(self) -> None:
        """A call that ends because its channel was closed looks like a cancelled task, and is none."""
        task = asyncio.current_task()
        if self.closed and (task is None or not task.cancelling()):
            self.check_open()


def unreachable(endpoint: Endpoint, error: grpc.aio.AioRpcError) -> errors.Unreachable:
    match error.code():
        case grpc.StatusCode.PERMISSION_DENIED:
            reason = "it denies access to the keys of this cluster"
        case grpc.StatusCode.UNAUTHENTICATED | grpc.StatusCode.INVALID_ARGUMENT:
            reason = "it refuses the user, the password or the request"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            reason = "no answer in time"
        case code:
            reason = code.name
    return errors.Unreachable(f"etcd at {endpoint.address}: {reason} ({error.details()})")


def _channel(address: str, tls: Tls | None) -> grpc.aio.Channel:
    scheme, separator, rest = address.partition("://")
    target = rest if separator else address
    if tls is None and scheme == "https":
        raise errors.ConfigError(f"etcd at {address} wants TLS: configure at least the certificate authority (ca)")
    if tls is None:
        return grpc.aio.insecure_channel(target, OPTIONS)
    return grpc.aio.secure_channel(target, tls.client(), OPTIONS)
