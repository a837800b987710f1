"""The ``Store`` in etcd, for production.

A view is one range over all keys of the cluster, so it is of one moment. Nothing
that etcd leaves open is guessed: a swap is sent once, and whoever needs to know
what became of it reads the record.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Any

import grpc
from aetcd.rpc import rpc_pb2

from springtide import errors
from springtide.coordinator import etcd_keys, topology
from springtide.coordinator.etcd_calls import Calls, Endpoint, unreachable
from springtide.coordinator.etcd_keys import Keys
from springtide.coordinator.store import (
    WATCH_REFRESH_SECONDS,
    Announcement,
    RawView,
    Refused,
    Swapped,
    View,
    decode_announcement,
    encode_announcement,
    settle,
)
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId
from springtide.wire.channels import Tls

log = logging.getLogger(__name__)

#: Between two looks at an etcd that does not answer.
PAUSE_SECONDS = 0.25


@dataclass(frozen=True, slots=True)
class _Lease:
    id: int
    ttl_seconds: int


class EtcdStore:
    def __init__(
        self,
        endpoints: Sequence[str],
        name: str,
        *,
        tls: Tls | None = None,
        user: str = "",
        password: str = "",
        attempt_seconds: float = 1.0,
        total_seconds: float = 2.5,
    ) -> None:
        """``endpoints`` are host:port, or URLs. Nothing is asked before the first call."""
        self._keys = Keys(name)
        self._total_seconds = total_seconds
        self._calls = Calls(
            endpoints,
            tls=tls,
            user=user,
            password=password,
            attempt_seconds=attempt_seconds,
            total_seconds=total_seconds,
        )
        self._leases: dict[NodeId, _Lease] = {}

    @property
    def failovers(self) -> int:
        """How often a call went on to another endpoint."""
        return self._calls.failovers

    async def close(self) -> None:
        await self._calls.close()

    # -- the view --------------------------------------------------------------------------------

    async def read(self) -> View:
        view, _ = await self._read()
        return view.decoded()

    async def _read(self) -> tuple[RawView, int]:
        """The view, and the revision of the whole store that it is of."""
        answer = await self._calls.repeated(lambda at, options: at.kv.Range(self._keys.everything(), **options))
        return self._keys.view(answer.kvs), answer.header.revision

    async def watch(self) -> AsyncIterator[View]:
        shown: RawView | None = None
        while True:
            self._calls.check_open()
            try:
                async with contextlib.aclosing(self._watch_once()) as views:
                    async for view in views:
                        if view != shown:
                            shown = view
                            yield view.decoded()
            except errors.Unreachable as error:
                log.debug("watching etcd begins again: %s", error)
            self._calls.check_open()
            await asyncio.sleep(PAUSE_SECONDS)

    async def _watch_once(self) -> AsyncGenerator[RawView, None]:
        """Views, until there is any doubt about the stream that tells when to look again."""
        view, revision = await self._read()
        yield view
        endpoint = self._calls.endpoint
        call = endpoint.watch.Watch(metadata=await self._metadata(endpoint))
        try:
            await self._open_watch(call, endpoint, revision + 1)
            async with contextlib.aclosing(self._looks(call, endpoint, view)) as views:
                async for view in views:
                    yield view
        except grpc.aio.AioRpcError as error:
            self._calls.token_refused(error)
            self._calls.rotate(endpoint)
            raise unreachable(endpoint, error) from error
        except errors.Unreachable:
            self._calls.rotate(endpoint)
            raise
        except asyncio.CancelledError:
            self._calls.raise_if_closed()
            raise
        finally:
            call.cancel()

    async def _looks(self, call: Any, endpoint: Endpoint, seen: RawView) -> AsyncGenerator[RawView, None]:
        """A view whenever the stream tells of anything, and every few seconds.

        Of an event nothing is concluded but that it is time to look. Where a look finds what
        the stream did not tell, the stream is dead.
        """
        told = asyncio.ensure_future(call.read())
        try:
            while True:
                was_told = await self._calls.wait(told, seconds=WATCH_REFRESH_SECONDS)
                if was_told:
                    self._check_watch(endpoint, told.result())
                    told = asyncio.ensure_future(call.read())
                view, _ = await self._read()
                if view != seen and not was_told and not told.done():
                    raise errors.Unreachable(f"etcd at {endpoint.address} did not tell of a change")
                seen = view
                yield view
        finally:
            _drop(told)

    async def _metadata(self, endpoint: Endpoint) -> tuple[tuple[str, str], ...]:
        try:
            return await self._calls.metadata(endpoint)
        except grpc.aio.AioRpcError as error:
            raise unreachable(endpoint, error) from error

    async def _open_watch(self, call: Any, endpoint: Endpoint, revision: int) -> None:
        async def opened() -> Any:
            await call.write(self._keys.watch_from(revision))
            return await call.read()

        opening = asyncio.ensure_future(opened())
        try:
            if not await self._calls.wait(opening, seconds=WATCH_REFRESH_SECONDS):
                raise errors.Unreachable(f"etcd at {endpoint.address} does not open a watch")
            self._check_watch(endpoint, opening.result())
            if not opening.result().created:
                raise errors.Unreachable(f"etcd at {endpoint.address} opened no watch")
        finally:
            _drop(opening)

    def _check_watch(self, endpoint: Endpoint, answer: Any) -> None:
        if answer is grpc.aio.EOF:
            raise errors.Unreachable(f"etcd at {endpoint.address} ended the watch")
        if answer.canceled or answer.compact_revision:
            # The stream itself stays open, and would be silent for ever.
            reason = answer.cancel_reason or "compacted"
            raise errors.Unreachable(f"etcd at {endpoint.address} cancelled the watch: {reason}")
        self._calls.believe(endpoint, answer.header)

    # -- the record ------------------------------------------------------------------------------

    async def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        everything = self._keys.everything()
        request = etcd_keys.swap(self._keys.record, topology.encode(record), expected_revision, everything)
        try:
            answer = await self._once(request)
        except errors.Unreachable:
            # Never sent twice from here: it may have landed, and may still. The record may tell.
            settled = settle(await self.read(), record, expected_revision)
            if settled is None:
                raise
            return settled
        view = self._keys.view(answer.responses[-1].response_range.kvs).decoded()
        return Swapped(view) if answer.succeeded else Refused(view)

    # -- announcements ---------------------------------------------------------------------------

    async def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        key, data = self._keys.announcement(announcement.node), encode_announcement(announcement)
        lease = await self._renewed(announcement.node, math.ceil(ttl_seconds))
        request = etcd_keys.put_under_lease(key, data, lease.id)
        await self._calls.repeated(lambda at, options: at.kv.Txn(request, **options))

    async def _renewed(self, node: NodeId, ttl_seconds: int) -> _Lease:
        """The node's lease, or a new one if there is none any more."""
        lease = self._leases.get(node)
        if lease is not None and lease.ttl_seconds == ttl_seconds and await self._kept_alive(lease):
            return lease
        request = rpc_pb2.LeaseGrantRequest(TTL=ttl_seconds)
        answer = await self._calls.repeated(lambda at, options: at.lease.LeaseGrant(request, **options))
        self._leases[node] = _Lease(answer.ID, ttl_seconds)
        return self._leases[node]

    async def _kept_alive(self, lease: _Lease) -> bool:
        """Renew it; False if it has expired, which etcd answers with a TTL of 0 and no error."""

        async def keep_alive(endpoint: Endpoint, options: dict[str, Any]) -> Any:
            call = endpoint.lease.LeaseKeepAlive(**options)
            try:
                await call.write(rpc_pb2.LeaseKeepAliveRequest(ID=lease.id))
                answer = await call.read()
            finally:
                call.cancel()
            if answer is grpc.aio.EOF:
                raise errors.Unreachable(f"etcd at {endpoint.address} ended the renewal of a lease")
            return answer

        answer = await self._calls.repeated(keep_alive)
        return bool(answer.TTL > 0)

    async def withdraw(self, node: NodeId, uptime: str) -> None:
        key = self._keys.announcement(node)
        present = await self._get(key)
        announcement = decode_announcement(present.value) if present is not None else None
        if present is None or announcement is None or announcement.uptime != uptime:
            return
        request = etcd_keys.delete(key, present.mod_revision)
        await self._calls.repeated(lambda at, options: at.kv.Txn(request, **options))

    # -- start counters --------------------------------------------------------------------------

    async def raise_starts(self, node: NodeId, starts: int) -> int:
        clock = asyncio.get_running_loop().time
        give_up = clock() + self._total_seconds
        while True:
            present = await self._get(self._keys.starts(node))
            counted = int(present.value) if present is not None else 0
            if counted >= starts:
                return counted
            revision = present.mod_revision if present is not None else 0
            request = etcd_keys.swap(self._keys.starts(node), str(starts).encode(), revision, self._keys.everything())
            try:
                await self._once(request)
            except errors.Unreachable:
                # Whether it landed, or another's did, the next look tells.
                if clock() >= give_up:
                    raise
                await asyncio.sleep(PAUSE_SECONDS)

    async def _once(self, request: Any) -> Any:
        return await self._calls.once(lambda at, options: at.kv.Txn(request, **options))

    async def _get(self, key: bytes) -> Any:
        """The key with its value and revision; None if there is none."""
        request = rpc_pb2.RangeRequest(key=key)
        answer = await self._calls.repeated(lambda at, options: at.kv.Range(request, **options))
        return answer.kvs[0] if answer.kvs else None


def _drop(reading: asyncio.Future[Any]) -> None:
    """What comes of it is no news any more, be it an error."""
    if not reading.cancel() and not reading.cancelled():
        reading.exception()
