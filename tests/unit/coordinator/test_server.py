from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.remote import RemoteStore
from springtide.coordinator.server import SERVICE, Serving, serve
from springtide.coordinator.store import Announcement, Swapped
from springtide.records.ids import NodeId
from springtide.wire.channels import Tls
from springtide.wire.v1 import coordinator_pb2 as pb
from springtide.wire.v1 import coordinator_pb2_grpc as pb_grpc
from tests.unit.coordinator.build import record

LOCAL = "127.0.0.1:0"


def served(directory: Path, story: Callable[[Serving, Any], Awaitable[None]]) -> None:
    """The story is told with a server, and a bare channel to it."""

    async def told() -> None:
        serving = await serve(LOCAL, directory / "sub" / "record")
        try:
            async with grpc.aio.insecure_channel(serving.address) as channel:
                await story(serving, channel)
        finally:
            await serving.stop()

    asyncio.run(asyncio.wait_for(told(), 20))


@pytest.mark.parametrize(
    ("method", "request_"),
    [
        ("Read", pb.CoordinatorReadRequest(prefix="")),
        ("Read", pb.CoordinatorReadRequest(prefix="../x")),
        ("Swap", pb.CoordinatorSwapRequest(prefix="x", record=b"no record")),
        ("Swap", pb.CoordinatorSwapRequest(prefix="x/y", record=topology.encode(record()))),
        ("Announce", pb.CoordinatorAnnounceRequest(prefix="x", node="a", announcement=b"none", ttl_seconds=3)),
        ("RaiseStarts", pb.CoordinatorRaiseStartsRequest(prefix="", node="a", starts=1)),
        ("Withdraw", pb.CoordinatorWithdrawRequest(prefix="", node="a")),
    ],
)
def test_bad_input_gets_a_clear_error_and_the_server_goes_on(tmp_path: Path, method: str, request_: Any) -> None:
    async def story(serving: Serving, channel: Any) -> None:
        stub = pb_grpc.CoordinatorStub(channel)

        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await getattr(stub, method)(request_)

        assert raised.value.code() is grpc.StatusCode.INVALID_ARGUMENT and raised.value.details()
        assert (await stub.Read(pb.CoordinatorReadRequest(prefix="x"))).revision == 0

    served(tmp_path, story)


def test_a_client_is_told_what_was_wrong(tmp_path: Path) -> None:
    async def story(serving: Serving, channel: Any) -> None:
        store = RemoteStore(serving.address, "x")
        with pytest.raises(errors.BadRequest, match="up to an hour"):
            await store.announce(Announcement(NodeId("a"), "h:1", "1", "a.1"), 1e9)
        await store.close()

    served(tmp_path, story)


def test_the_health_service_says_that_it_serves(tmp_path: Path) -> None:
    async def story(serving: Serving, channel: Any) -> None:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", SERVICE):
            answer = await health.Check(health_pb2.HealthCheckRequest(service=service))
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

    served(tmp_path, story)


def test_a_second_server_on_the_port_or_the_file_is_refused(tmp_path: Path) -> None:
    async def story(serving: Serving, channel: Any) -> None:
        with pytest.raises(errors.Occupied, match="cannot listen"):
            await serve(serving.address, tmp_path / "other")
        with pytest.raises(errors.Occupied, match="in use"):
            await serve(LOCAL, tmp_path / "sub" / "record")
        again = await serve(LOCAL, tmp_path / "other")
        await again.stop()

    served(tmp_path, story)


def test_a_failed_disk_ends_the_service_and_leaves_the_outcome_unknown(tmp_path: Path) -> None:
    async def story(serving: Serving, channel: Any) -> None:
        store = RemoteStore(serving.address, "x")
        shutil.rmtree(tmp_path / "sub")

        with pytest.raises(errors.Unreachable):
            await store.swap(record(), 0)

        with pytest.raises(errors.DiskFailed):
            await serving.wait()
        with pytest.raises(errors.Unreachable, match="cannot be written"):
            await store.read()
        health = health_pb2_grpc.HealthStub(channel)
        answer = await health.Check(health_pb2.HealthCheckRequest())
        assert answer.status == health_pb2.HealthCheckResponse.NOT_SERVING
        await store.close()

    served(tmp_path, story)


def test_a_key_of_another_certificate_is_not_taken_for_a_port_in_use(tmp_path: Path) -> None:
    for name in ("ours", "another"):
        issued = trustme.CA().issue_cert("127.0.0.1")
        issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / name)

    async def story() -> None:
        with pytest.raises(errors.ConfigError, match=r"ours \(cert\) and .*another \(key\)"):
            await serve(LOCAL, tmp_path / "record", tls=Tls(None, tmp_path / "ours", tmp_path / "another"))
        again = await serve(LOCAL, tmp_path / "record")  # the file was let go
        await again.stop()

    asyncio.run(asyncio.wait_for(story(), 20))


def test_over_tls_only_whoever_shows_a_certificate_is_heard(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate.private_key_and_cert_chain_pem.write_to_path(tmp_path / "both.pem")
    both = Tls(tmp_path / "ca.pem", tmp_path / "both.pem", tmp_path / "both.pem")

    async def story() -> None:
        serving = await serve(LOCAL, tmp_path / "record", tls=both)
        known, unknown = (
            RemoteStore(serving.address, "x", tls=both),
            RemoteStore(serving.address, "x", tls=Tls(ca=tmp_path / "ca.pem")),
        )
        assert isinstance(await known.swap(record(), 0), Swapped)
        with pytest.raises(errors.Unreachable):
            await unknown.read()
        for store in (known, unknown):
            await store.close()
        await serving.stop()

    asyncio.run(asyncio.wait_for(story(), 20))
