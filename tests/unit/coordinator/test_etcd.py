"""What ``EtcdStore`` does beyond the contract, against a real etcd and against a made-up header."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import grpc
import pytest
import trustme
from aetcd.rpc import auth_pb2, kv_pb2, rpc_pb2, rpc_pb2_grpc

from springtide import errors
from springtide.coordinator.etcd import EtcdStore
from springtide.coordinator.etcd_calls import Guard
from springtide.coordinator.etcd_keys import Keys
from springtide.coordinator.store import Announcement, Swapped, View
from springtide.records.ids import NodeId
from springtide.wire.channels import Tls
from tests.conformance.etcd_process import EtcdProcess, free_port
from tests.unit.coordinator.build import record

A = Announcement(NodeId("a"), "host:1", "1", "a.1")


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 30))


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    process.start()
    yield process
    process.stop()


@contextlib.asynccontextmanager
async def store_at(*endpoints: str, name: str, **settings: object) -> AsyncIterator[EtcdStore]:
    store = EtcdStore(endpoints, name, **settings)  # type: ignore[arg-type]
    try:
        yield store
    finally:
        await store.close()


async def shown(views: AsyncIterator[View], condition: Callable[[View], bool]) -> View:
    async for view in views:
        if condition(view):
            return view
    raise AssertionError("a watch never ends")


# -- whose answers are believed -------------------------------------------------------------------


def header(cluster_id: int, raft_term: int) -> SimpleNamespace:
    return SimpleNamespace(cluster_id=cluster_id, raft_term=raft_term)


@pytest.mark.parametrize(
    ("answers", "refused"),
    [
        ([(7, 2), (7, 2), (7, 3)], None),
        ([(7, 2), (8, 3)], "wiped or is another"),
        ([(7, 3), (7, 2)], "put back to an older state"),
    ],
)
def test_answers_of_another_cluster_or_of_an_older_term_are_not_believed(
    answers: list[tuple[int, int]], refused: str | None
) -> None:
    guard = Guard()
    for answer in answers[:-1]:
        guard.check("host:1", header(*answer))

    if refused is None:
        guard.check("host:1", header(*answers[-1]))
    else:
        with pytest.raises(errors.Unreachable, match=refused):
            guard.check("host:1", header(*answers[-1]))


async def _read_until(store: EtcdStore, reason: str) -> None:
    """Until a read fails for that reason, and not because etcd is not up yet or is slow."""
    while True:
        try:
            await store.read()
        except errors.Unreachable as error:
            if reason in str(error):
                raise


def test_a_wiped_etcd_is_not_taken_for_the_old_one(tmp_path: Path) -> None:
    first = EtcdProcess(tmp_path / "first")
    wiped = EtcdProcess(tmp_path / "second", ("--initial-cluster-token=other",), port=first.port)

    async def story() -> None:
        async with store_at(first.address, name="x", total_seconds=0.5) as store:
            await store.swap(record(), 0)
            await asyncio.to_thread(first.stop)
            await asyncio.to_thread(wiped.start)

            with pytest.raises(errors.Unreachable, match="it was wiped or"):
                await _read_until(store, "wiped")

    first.start()
    try:
        run(story)
    finally:
        first.stop()
        wiped.stop()


def test_a_version_that_loses_writes_is_warned_of_once(etcd: EtcdProcess, caplog: pytest.LogCaptureFixture) -> None:
    async def story() -> None:
        async with store_at(etcd.address, name="version") as store:
            for _ in range(3):
                await store.read()

    with caplog.at_level(logging.WARNING):
        run(story)

    warned = [message for message in caplog.messages if "can lose acknowledged writes" in message]
    assert len(warned) == 1 and "3.5.1" in warned[0]


# -- keys -----------------------------------------------------------------------------------------


def test_keys_that_are_none_of_ours_are_passed_over() -> None:
    kvs = [
        kv_pb2.KeyValue(key=b"/springtide/x/" + key, value=value, mod_revision=4)
        for key, value in [
            (b"announcements/a", b"one"),
            (b"record", b"two"),
            (b"record/a", b"?"),
            (b"starts/a", b"3"),
            (b"starts/b", b"many"),
            (b"\xff", b"?"),
        ]
    ]

    found = Keys("x").view(kvs)

    assert (found.revision, found.record, found.announcements, found.starts) == (4, b"two", {"a": b"one"}, {"a": 3})


def test_the_range_of_a_cluster_ends_before_a_longer_name_begins() -> None:
    keys = Keys("x")

    assert keys.prefix == b"/springtide/x/" and keys.end == b"/springtide/x0"


@pytest.mark.parametrize("endpoints", [[], ["https://127.0.0.1:2379"]])
def test_endpoints_that_cannot_work_are_refused_at_once(endpoints: list[str]) -> None:
    async def story() -> None:
        with pytest.raises(errors.ConfigError):
            EtcdStore(endpoints, "x")

    run(story)


# -- several endpoints ------------------------------------------------------------------------------


class Stalling:
    """A proxy that, once told to, takes everything and passes nothing on: as a stopped process does."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._flows = asyncio.Event()
        self._flows.set()
        self._tasks: list[asyncio.Future[None]] = []

    async def __aenter__(self) -> Stalling:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.address = f"127.0.0.1:{self._server.sockets[0].getsockname()[1]}"
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    def stall(self) -> None:
        self._flows.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        for copying in (self._copy(reader, there_writer), self._copy(there_reader, writer)):
            self._tasks.append(asyncio.ensure_future(copying))

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._flows.wait()
                writer.write(data)
        writer.close()


def test_a_dead_endpoint_is_left_for_the_next(etcd: EtcdProcess) -> None:
    async def story() -> None:
        async with store_at(f"http://127.0.0.1:{free_port()}", f"http://{etcd.address}", name="dead") as store:
            assert await store.read() == View()
            assert isinstance(await store.swap(record(), 0), Swapped)
            assert store.failovers == 1

    run(story)


def test_an_endpoint_that_stops_in_the_middle_costs_one_deadline(etcd: EtcdProcess) -> None:
    async def story() -> None:
        async with (
            Stalling(etcd.port) as stopped,
            store_at(stopped.address, etcd.address, name="stalled", attempt_seconds=0.5) as store,
            store_at(etcd.address, name="stalled") as other,
        ):
            views = store.watch()
            await anext(views)
            following = asyncio.ensure_future(shown(views, lambda view: bool(view.announcements)))
            await store.announce(A, 10)
            await following

            stopped.stall()
            await store.announce(A, 10)
            await other.swap(record(), 0)

            # The watch hangs on the stopped endpoint. A look shows what it does not tell.
            await shown(views, lambda view: view.record is not None)
            assert store.failovers >= 1

    run(story)


def test_a_swap_is_sent_to_one_endpoint_only(etcd: EtcdProcess) -> None:
    """Its outcome is unknown when that one does not answer, and nothing else tries it."""

    async def story() -> None:
        async with (
            Stalling(etcd.port) as stopped,
            store_at(stopped.address, etcd.address, name="once", attempt_seconds=0.5) as store,
        ):
            await store.read()
            stopped.stall()

            with pytest.raises(errors.Unreachable, match="no answer in time"):
                await store.swap(record(), 0)

            assert (await store.read()).revision == 0, "the request did not arrive, so nothing was written"

    run(story)


# -- watches ----------------------------------------------------------------------------------------


def test_a_watch_from_a_compacted_revision_is_noticed(etcd: EtcdProcess) -> None:
    """etcd cancels such a watch and leaves the stream open: who waits for its end waits for ever."""

    async def story() -> None:
        async with store_at(etcd.address, name="compacted") as store:
            for starts in (1, 2, 3):
                await store.raise_starts(NodeId("a"), starts)
            endpoint = store._calls.endpoint
            _, revision = await store._read()
            await endpoint.kv.Compact(rpc_pb2.CompactionRequest(revision=revision))
            call = endpoint.watch.Watch()

            with pytest.raises(errors.Unreachable, match="compacted"):
                await store._open_watch(call, endpoint, 1)
                store._check_watch(endpoint, await asyncio.wait_for(call.read(), 5))
            call.cancel()

    run(story)


# -- users and certificates ---------------------------------------------------------------------------


async def _require_password(address: str) -> None:
    """Turn on authentication: user ``node`` may do what it wants with the keys of clusters, and no more."""
    async with grpc.aio.insecure_channel(address) as channel:
        auth = rpc_pb2_grpc.AuthStub(channel)
        for user, password in (("root", "r"), ("node", "secret"), ("stranger", "secret")):
            await auth.UserAdd(rpc_pb2.AuthUserAddRequest(name=user, password=password))
        for role in ("root", "springtide"):
            await auth.RoleAdd(rpc_pb2.AuthRoleAddRequest(name=role))
        permission = auth_pb2.Permission(
            permType=auth_pb2.Permission.READWRITE, key=b"/springtide/", range_end=b"/springtide0"
        )
        await auth.RoleGrantPermission(rpc_pb2.AuthRoleGrantPermissionRequest(name="springtide", perm=permission))
        for user, role in (("root", "root"), ("node", "springtide")):
            await auth.UserGrantRole(rpc_pb2.AuthUserGrantRoleRequest(user=user, role=role))
        await auth.AuthEnable(rpc_pb2.AuthEnableRequest())


def test_with_a_password_the_store_authenticates_and_does_so_again_when_its_token_is_lost(tmp_path: Path) -> None:
    # etcd compares passwords with bcrypt, which at its usual cost takes 50 ms of a core: on a machine that much else
    # uses, more than the second that a call is given, and then the reason is another.
    process = EtcdProcess(tmp_path, ("--bcrypt-cost=4",))

    async def story() -> None:
        await _require_password(process.address)
        async with (
            store_at(process.address, name="x", user="node", password="secret", attempt_seconds=5.0) as store,
            store_at(process.address, name="x", user="node", password="wrong", total_seconds=0.5) as wrong,
            store_at(process.address, name="x", user="stranger", password="secret", total_seconds=0.5) as stranger,
            store_at(process.address, name="x", total_seconds=0.5) as nobody,
        ):
            revision = (await store.swap(record(), 0)).view.revision
            await store.announce(A, 10)
            views = store.watch()
            await anext(views)
            with pytest.raises(errors.Unreachable, match="refuses the user, the password"):
                await _read_until(wrong, "refuses the user, the password")
            with pytest.raises(errors.Unreachable, match="denies access"):
                await _read_until(stranger, "denies access")
            with pytest.raises(errors.Unreachable, match="refuses the user"):
                await _read_until(nobody, "refuses the user")

            # Tokens are kept in the memory of etcd.
            await asyncio.to_thread(process.stop)
            await asyncio.to_thread(process.start)
            while True:
                with contextlib.suppress(errors.Unreachable):
                    await store.announce(A, 10)
                    break
            assert isinstance(await store.swap(record(change="c1"), revision), Swapped)
            await shown(views, lambda view: view.record == record(change="c1"))

    process.start()
    try:
        run(story)
    finally:
        process.stop()


def test_over_tls_both_sides_show_certificates(tmp_path: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    ca, cert, key = tmp_path / "ca.pem", tmp_path / "cert.pem", tmp_path / "key.pem"
    authority.cert_pem.write_to_path(ca)
    certificate.cert_chain_pems[0].write_to_path(cert)
    certificate.private_key_pem.write_to_path(key)
    wants = (f"--cert-file={cert}", f"--key-file={key}", f"--trusted-ca-file={ca}", "--client-cert-auth")
    process = EtcdProcess(tmp_path / "etcd", wants, scheme="https")

    async def story() -> None:
        known = {"tls": Tls(ca, cert, key)}
        async with (
            store_at(f"https://{process.address}", name="x", **known) as store,
            store_at(process.address, name="x", tls=Tls(ca), total_seconds=0.5) as unknown,
        ):
            assert isinstance(await store.swap(record(), 0), Swapped)
            with pytest.raises(errors.Unreachable):
                await unknown.read()

    process.start()
    try:
        run(story)
    finally:
        process.stop()
