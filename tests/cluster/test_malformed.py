"""Bytes that are no message, to every method of a node and of the coordinator: a clear refusal, and both go on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest

from springtide.testing.cluster import LocalCluster
from springtide.wire.v1 import admin_pb2, coordinator_pb2, replication_pb2, session_pb2
from springtide.wire.v1.records_pb2 import CODE_BAD_REQUEST
from tests.cluster.test_clear_errors import store

SERVICES = [
    (file.DESCRIPTOR.services_by_name[name], where)
    for file, name, where in (
        (session_pb2, "Storage", "node"),
        (replication_pb2, "Replication", "node"),
        (admin_pb2, "Admin", "node"),
        (coordinator_pb2, "Coordinator", "store"),
    )
]
METHODS = [(method, where) for service, where in SERVICES for method in service.methods]
#: A field of a length that the message does not have.
JUNK = b"\x0a\xff\x01junk"


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    with LocalCluster(1) as cluster:
        yield cluster


def raw(value: bytes) -> bytes:
    return value


def answer(channel: Any, method: Any) -> bytes:
    """The first answer to junk, which gRPC is not asked to understand."""
    name = f"/{method.containing_service.full_name}/{method.name}"
    match method.client_streaming, method.server_streaming:
        case False, False:
            return bytes(channel.unary_unary(name, raw, raw)(JUNK, timeout=20))
        case False, True:
            return next(channel.unary_stream(name, raw, raw)(JUNK, timeout=20))  # type: ignore[no-any-return]
        case True, False:
            return bytes(channel.stream_unary(name, raw, raw)(iter([JUNK]), timeout=20))
        case _:
            return next(channel.stream_stream(name, raw, raw)(iter([JUNK]), timeout=20))  # type: ignore[no-any-return]


@pytest.mark.parametrize(("method", "where"), METHODS, ids=[method.full_name for method, _ in METHODS])
def test_junk_is_refused_as_a_bad_request(cluster: LocalCluster, method: Any, where: str) -> None:
    address = cluster.address("a" if where == "node" else "store")

    with grpc.insecure_channel(address) as channel:
        try:
            answered = answer(channel, method)
        except grpc.RpcError as error:
            assert error.code() is grpc.StatusCode.INVALID_ARGUMENT, error
            said = error.details()
        else:
            said = answered.decode("latin-1")
            if method.output_type.name == "NodeMessage":
                assert session_pb2.NodeMessage.FromString(answered).error.code == CODE_BAD_REQUEST

    assert f"{len(JUNK)} bytes for /{method.containing_service.full_name}/{method.name}" in said
    assert "not a message of its kind" in said


def test_no_traceback_is_logged_and_everybody_goes_on(cluster: LocalCluster) -> None:
    storage = cluster.storage()
    store(storage, storage.new_oid(), bytes(8), b"x")

    for process in ("a", "store"):
        assert "Traceback" not in cluster.logs(process, 10_000)
    storage.close()
