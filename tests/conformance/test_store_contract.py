"""What every store of the coordinator's record promises, asked of all three."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, TypeVar

import pytest

from springtide import errors
from springtide.coordinator import server, topology
from springtide.coordinator.embedded import EmbeddedStore
from springtide.coordinator.etcd import EtcdStore
from springtide.coordinator.remote import RemoteStore
from springtide.coordinator.store import Announcement, Refused, Store, Swapped, View
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId
from tests.conformance.etcd_process import EtcdProcess, free_port
from tests.unit.build import member

T = TypeVar("T")

#: The shortest that etcd grants.
TTL_SECONDS = 1.0
DEADLINE_SECONDS = 30.0


class Backend(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...
    def store(self, name: str = "main", through: int | None = None) -> Store:
        """A client; ``through`` is the port of a proxy."""

    @property
    def port(self) -> int: ...


class Embedded:
    port = 0

    def __init__(self, directory: Path) -> None:
        self._file = directory / "record"
        self._stores: dict[str, EmbeddedStore] = {}

    async def start(self) -> None:
        self._stores = {}

    async def stop(self) -> None:
        for store in self._stores.values():
            await store.close()

    def store(self, name: str = "main", through: int | None = None) -> Store:
        core = next(iter(self._stores.values()))._core if self._stores else None
        made = EmbeddedStore(core, name) if core else EmbeddedStore.open(self._file, name)
        return self._stores.setdefault(name, made)


class Remote:
    def __init__(self, directory: Path) -> None:
        self._file = directory / "record"
        self.port = free_port()
        self._serving: server.Serving | None = None

    async def start(self) -> None:
        self._serving = await server.serve(f"127.0.0.1:{self.port}", self._file)

    async def stop(self) -> None:
        if self._serving is not None:
            await self._serving.stop()
            self._serving = None

    def store(self, name: str = "main", through: int | None = None) -> Store:
        return RemoteStore(f"127.0.0.1:{through or self.port}", name)


class Etcd:
    def __init__(self, process: EtcdProcess, names: Iterator[int]) -> None:
        self._process = process
        self._test = next(names)
        self.port = process.port

    async def start(self) -> None:
        await asyncio.to_thread(self._process.start)

    async def stop(self) -> None:
        await asyncio.to_thread(self._process.stop)

    def store(self, name: str = "main", through: int | None = None) -> Store:
        return EtcdStore([f"127.0.0.1:{through or self.port}"], f"{name}{self._test}", total_seconds=1.0)


@pytest.fixture(scope="module")
def etcd_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdProcess]:
    process = EtcdProcess(tmp_path_factory.mktemp("etcd"))
    yield process
    process.stop()


@pytest.fixture(scope="module")
def names() -> Iterator[int]:
    return iter(range(1_000))


def _backend(request: pytest.FixtureRequest, directory: Path) -> Backend:
    match request.param:
        case "embedded":
            return Embedded(directory)
        case "remote":
            return Remote(directory)
        case _:
            return Etcd(request.getfixturevalue("etcd_process"), request.getfixturevalue("names"))


@pytest.fixture(params=["embedded", "remote", "etcd"])
def backend(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    return _backend(request, tmp_path)


@pytest.fixture(params=["remote", "etcd"])
def apart(request: pytest.FixtureRequest, tmp_path: Path) -> Backend:
    """Only those whose server can fail while its clients go on."""
    return _backend(request, tmp_path)


def run(backend: Backend, story: Callable[[], Awaitable[None]]) -> None:
    async def told() -> None:
        await backend.start()
        try:
            await story()
        finally:
            if not isinstance(backend, Etcd):
                await backend.stop()

    asyncio.run(asyncio.wait_for(told(), DEADLINE_SECONDS))


@contextlib.asynccontextmanager
async def opened(*stores: Store) -> AsyncIterator[None]:
    try:
        yield
    finally:
        for store in stores:
            await store.close()


async def shown(views: AsyncIterator[View], condition: Callable[[View], bool]) -> View:
    """The first of the watched views that fulfils the condition."""
    async for view in views:
        if condition(view):
            return view
    raise AssertionError("a watch never ends")


async def succeeding(ask: Callable[[], Awaitable[T]]) -> T:
    """The answer, as soon as the store answers again."""
    while True:
        try:
            return await ask()
        except errors.Unreachable:
            await asyncio.sleep(0.02)


def record(change: str = "c1", **fields: Any) -> Record:
    made = topology.create(None, cluster="x", history="h", me=member("a"), uptime="u1", initial_nodes=3, change=change)
    return replace(made, **fields)


def announcement(node: str = "a", uptime: str = "u1", address: str = "host:1") -> Announcement:
    return Announcement(NodeId(node), address, "1", uptime)


# -- the record --------------------------------------------------------------------------------


def test_a_cluster_begins_without_a_record(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            assert await store.read() == View()

    run(backend, story)


def test_a_record_is_created_only_where_there_is_none(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            created = await store.swap(record("mine"), 0)
            again = await store.swap(record("theirs"), 0)

        assert isinstance(created, Swapped) and created.view.record == record("mine")
        assert isinstance(again, Refused) and again.view == created.view

    run(backend, story)


def test_an_update_that_has_not_seen_the_last_one_is_refused(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            first = (await store.swap(record("c1"), 0)).view.revision
            second = await store.swap(record("c2"), first)
            late = await store.swap(record("c3"), first)

        assert isinstance(second, Swapped) and second.view.revision > first
        assert isinstance(late, Refused) and late.view.record == record("c2")

    run(backend, story)


def test_of_two_swaps_at_one_revision_one_lands(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            outcomes = await asyncio.gather(*(store.swap(record(f"c{n}"), 0) for n in range(5)))
            present = await store.read()

        landed = [outcome for outcome in outcomes if isinstance(outcome, Swapped)]
        assert len(landed) == 1 and landed[0].view.record == present.record

    run(backend, story)


def test_every_member_and_number_comes_back_as_it_was_written(backend: Backend) -> None:
    async def story() -> None:
        full = record(in_sync=frozenset({member("a"), member("b", "née"), member("c")}), epoch=2**40, minimum=2)
        store = backend.store()
        async with opened(store):
            await store.swap(full, 0)

            assert (await store.read()).record == full

    run(backend, story)


def test_clusters_of_different_names_do_not_meet(backend: Backend) -> None:
    async def story() -> None:
        mine, other = backend.store("main"), backend.store("main-2")
        async with opened(mine, other):
            await mine.swap(record(), 0)
            await mine.announce(announcement(), TTL_SECONDS)

            assert await other.read() == View()

    run(backend, story)


def test_what_was_answered_survives_a_restart(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            revision = (await store.swap(record("c1"), 0)).view.revision
            revision = (await store.swap(record("c2"), revision)).view.revision
            await store.raise_starts(NodeId("a"), 7)

        await backend.stop()
        await backend.start()

        store = backend.store()
        async with opened(store):
            view = await succeeding(store.read)
        assert (view.revision, view.record, view.starts) == (revision, record("c2"), {"a": 7})

    run(backend, story)


# -- watching ----------------------------------------------------------------------------------


def test_a_watch_begins_with_what_is_there_and_shows_every_change(backend: Backend) -> None:
    async def story() -> None:
        store, other = backend.store(), backend.store()
        async with opened(store, other):
            await store.swap(record("c1"), 0)
            views = store.watch()
            first = await anext(views)

            await other.swap(record("c2"), first.revision)
            second = await shown(views, lambda view: view.record != first.record)
            await other.announce(announcement("b"), 10)
            third = await shown(views, lambda view: bool(view.announcements))

        assert first.record == record("c1")
        assert second.record == record("c2")
        assert third.announcements == {"b": announcement("b")} and third.record == record("c2")

    run(backend, story)


def test_a_watch_goes_on_after_a_restart_of_the_server(apart: Backend) -> None:
    async def story() -> None:
        watching, writing = apart.store(), apart.store()
        async with opened(watching, writing):
            views = watching.watch()
            revision = (await writing.swap(record("c1"), 0)).view.revision
            await shown(views, lambda view: view.record is not None)

            await apart.stop()
            seen = asyncio.ensure_future(shown(views, lambda view: view.record == record("c2")))
            await apart.start()
            await succeeding(writing.read)
            await writing.swap(record("c2"), revision)

            assert (await seen).revision > revision

    run(apart, story)


def test_a_watch_ends_when_the_store_is_closed(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        views = store.watch()
        await anext(views)
        following = asyncio.ensure_future(anext(views))
        await asyncio.sleep(0)

        await store.close()

        with pytest.raises(errors.Unreachable):
            await following

    run(backend, story)


# -- announcements -----------------------------------------------------------------------------


def test_an_announcement_ends_when_it_is_not_renewed(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            clock = asyncio.get_running_loop().time
            views = store.watch()
            began = clock()
            await store.announce(announcement(), TTL_SECONDS)
            await shown(views, lambda view: view.announcements == {"a": announcement()})
            await shown(views, lambda view: not view.announcements)

            assert clock() - began >= TTL_SECONDS
            assert (await store.read()).announcements == {}

    run(backend, story)


def test_a_renewed_announcement_outlives_its_time_and_wakes_no_watcher(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            await store.announce(announcement(), TTL_SECONDS)
            views = store.watch()
            await shown(views, lambda view: bool(view.announcements))
            following = asyncio.ensure_future(anext(views))
            clock = asyncio.get_running_loop().time
            until = clock() + 3 * TTL_SECONDS
            while clock() < until:
                await store.announce(announcement(), TTL_SECONDS)
                done, _ = await asyncio.wait({following}, timeout=TTL_SECONDS / 4)
                assert not done, "nothing has changed"

            assert (await store.read()).announcements == {"a": announcement()}
            following.cancel()

    run(backend, story)


def test_a_changed_announcement_is_shown(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            await store.announce(announcement(address="old:1"), 10)
            await store.announce(announcement(address="new:1"), 10)

            assert (await store.read()).announcements["a"].address == "new:1"

    run(backend, story)


def test_an_announcement_that_was_lost_is_made_again_by_the_next_renewal(apart: Backend) -> None:
    async def story() -> None:
        store = apart.store()
        async with opened(store):
            await store.announce(announcement(), TTL_SECONDS)
            await shown(store.watch(), lambda view: not view.announcements)

            await store.announce(announcement(), TTL_SECONDS)

            assert (await store.read()).announcements == {"a": announcement()}

    run(apart, story)


def test_only_the_announced_run_can_withdraw(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            await store.announce(announcement(uptime="new"), 10)
            await store.withdraw(NodeId("a"), "old")
            still = await store.read()
            await store.withdraw(NodeId("a"), "new")
            await store.withdraw(NodeId("a"), "new")

            assert still.announcements and not (await store.read()).announcements

    run(backend, story)


# -- start counters ----------------------------------------------------------------------------


def test_a_start_counter_only_grows_and_says_when_it_was_ahead(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        async with opened(store):
            answers = [await store.raise_starts(NodeId("a"), starts) for starts in (1, 5, 3, 5, 6)]
            await store.raise_starts(NodeId("b"), 2)

            assert answers == [1, 5, 5, 5, 6]
            assert (await store.read()).starts == {"a": 6, "b": 2}

    run(backend, story)


# -- when the store does not answer -------------------------------------------------------------


def test_everything_is_unreachable_while_the_server_is_down_and_comes_back_with_it(apart: Backend) -> None:
    async def story() -> None:
        store = apart.store()
        async with opened(store):
            revision = (await store.swap(record("c1"), 0)).view.revision
            await apart.stop()

            for ask in (
                store.read,
                lambda: store.swap(record("c2"), revision),
                lambda: store.announce(announcement(), TTL_SECONDS),
                lambda: store.raise_starts(NodeId("a"), 1),
            ):
                with pytest.raises(errors.Unreachable):
                    await ask()

            await apart.start()
            assert (await succeeding(store.read)).record == record("c1")
            assert isinstance(await store.swap(record("c2"), revision), Swapped)

    run(apart, story)


def test_a_closed_store_is_unreachable(backend: Backend) -> None:
    async def story() -> None:
        store = backend.store()
        await store.close()

        with pytest.raises(errors.Unreachable):
            await store.read()
        with pytest.raises(errors.Unreachable):
            await store.swap(record(), 0)

    run(backend, story)


class LossyProxy:
    """Forwards connections; where ``lose_answers`` is set, cuts one as soon as an answer comes back."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._tasks: set[asyncio.Task[None]] = set()
        self.lose_answers = False
        self.lost = 0

    async def __aenter__(self) -> LossyProxy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *error: object) -> None:
        self._server.close()
        for task in self._tasks:
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._target)
        for task in (self._copy(reader, there_writer, False), self._copy(there_reader, writer, True)):
            running = asyncio.ensure_future(task)
            self._tasks.add(running)
            running.add_done_callback(self._tasks.discard)

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                # An acknowledgement of settings or a ping is shorter than any answer.
                if answers and self.lose_answers and len(data) > 60:
                    self.lose_answers = False
                    self.lost += 1
                    break
                writer.write(data)
                await writer.drain()
        writer.close()


def test_a_swap_whose_answer_is_lost_is_settled_by_the_record(apart: Backend) -> None:
    async def story() -> None:
        async with LossyProxy(apart.port) as proxy:
            store, direct = apart.store(through=proxy.port), apart.store()
            async with opened(store, direct):
                first = await store.swap(record("c1"), 0)
                proxy.lose_answers = True

                # The read that settles it may meet the broken connection too: then nothing is claimed.
                try:
                    outcome: Swapped | Refused | None = await store.swap(record("c2"), first.view.revision)
                except errors.Unreachable:
                    outcome = None

                view = await direct.read()
                assert proxy.lost == 1
                assert view.record == record("c2"), "it had landed"
                assert outcome in (None, Swapped(view)), "and was never taken for refused"
                again = await succeeding(lambda: store.swap(record("c2"), first.view.revision))
                assert isinstance(again, Refused) and again.view == view, "nor written twice"

    run(apart, story)
