from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from springtide import errors
from springtide.coordinator.elector import Elector, enter
from springtide.coordinator.embedded import EmbeddedStore
from springtide.coordinator.store import Announcement, Refused, Swapped, View
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId
from tests.unit.coordinator.build import record, view

A = Announcement(NodeId("a"), "host:1", "1", "a.1")
#: Nothing that is awaited here waits for a renewal in its turn.
LONG_SECONDS = 600.0


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(story(), 10))


@contextlib.asynccontextmanager
async def running(elector: Elector) -> AsyncIterator[Elector]:
    task = asyncio.ensure_future(elector.run())
    try:
        yield elector
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task


class FlakyStore(EmbeddedStore):
    """Answers only while ``down`` is not set; says how often it was asked to announce."""

    down = False
    announced = 0

    async def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        if self.down:
            raise errors.Unreachable("down")
        self.announced += 1
        await super().announce(announcement, ttl_seconds)

    async def raise_starts(self, node: NodeId, starts: int) -> int:
        if self.down:
            self.down = False
            raise errors.Unreachable("down")
        return await super().raise_starts(node, starts)


class ScriptedStore:
    """Watches show ``watched``, reads show ``present``, whatever the truth."""

    def __init__(self, present: View) -> None:
        self.present = present
        self.watched: asyncio.Queue[View] = asyncio.Queue()
        self.reads = 0

    async def read(self) -> View:
        self.reads += 1
        return self.present

    async def watch(self) -> AsyncIterator[View]:
        while True:
            yield await self.watched.get()

    async def swap(self, proposed: Record, expected_revision: int) -> Swapped | Refused:
        self.present = View(expected_revision + 1, proposed)
        return Swapped(self.present)

    async def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        pass

    async def withdraw(self, node: NodeId, uptime: str) -> None:
        raise errors.Unreachable("down")

    async def raise_starts(self, node: NodeId, starts: int) -> int:
        return starts

    async def close(self) -> None:
        pass


# -- announcing -----------------------------------------------------------------------------------


def test_a_node_is_announced_and_sees_itself(tmp_path: Path) -> None:
    async def story() -> None:
        store = EmbeddedStore.open(tmp_path / "record", "x")
        async with running(Elector(store, View(), A, LONG_SECONDS)) as elector:
            await elector.until(lambda: elector.view.announcements == {"a": A})

            assert elector.announced and elector.rival is None

    run(story)


def test_an_announcement_is_renewed_before_it_ends(tmp_path: Path) -> None:
    async def story() -> None:
        store, ttl = EmbeddedStore.open(tmp_path / "record", "x"), 0.6
        async with running(Elector(store, View(), A, ttl)) as elector:
            await elector.until(lambda: bool(elector.view.announcements))
            gone = asyncio.ensure_future(elector.until(lambda: not elector.view.announcements))

            done, _ = await asyncio.wait({gone}, timeout=3 * ttl)

            assert not done and elector.announced
            gone.cancel()

    run(story)


def test_an_announcement_that_was_lost_is_made_again_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        store = FlakyStore.open(tmp_path / "record", "x")
        assert isinstance(store, FlakyStore)
        async with running(Elector(store, View(), A, LONG_SECONDS)) as elector:
            await elector.until(lambda: bool(elector.view.announcements))
            await store.withdraw(A.node, A.uptime)
            await elector.until(lambda: store.announced == 2 and bool(elector.view.announcements))

    run(story)


def test_a_changed_announcement_is_made_at_once(tmp_path: Path) -> None:
    async def story() -> None:
        store = EmbeddedStore.open(tmp_path / "record", "x")
        async with running(Elector(store, View(), A, LONG_SECONDS)) as elector:
            await elector.until(lambda: bool(elector.view.announcements))
            await elector.announce(replace(A, incarnation="2"))
            await elector.until(lambda: elector.view.announcements["a"].incarnation == "2")

    run(story)


def test_the_time_of_an_announcement_counts_from_when_it_was_sent() -> None:
    async def story() -> None:
        clock = asyncio.get_running_loop().time

        class SlowStore(ScriptedStore):
            async def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
                self.sent = clock()
                await asyncio.sleep(0.1)

        store = SlowStore(View())
        async with running(Elector(store, View(), A, 30.0)) as elector:
            store.watched.put_nowait(view(record(), "a.1"))
            await elector.until(lambda: elector.view.record is not None)
            while not elector.announced:
                await asyncio.sleep(0)

            assert elector.valid_until - 30.0 == pytest.approx(store.sent, abs=0.01)

    run(story)


def test_leaving_ends_the_announcement_or_lets_it_expire(tmp_path: Path) -> None:
    async def story() -> None:
        store = EmbeddedStore.open(tmp_path / "record", "x")
        elector = Elector(store, View(), A, LONG_SECONDS)
        async with running(elector):
            await elector.until(lambda: bool(elector.view.announcements))
        await elector.leave()
        await Elector(ScriptedStore(View()), View(), A).leave()

        assert not (await store.read()).announcements and not elector.announced

    run(story)


def test_a_name_that_was_given_twice_is_noticed(tmp_path: Path) -> None:
    async def story() -> None:
        store = EmbeddedStore.open(tmp_path / "record", "x")
        await store.announce(replace(A, uptime="a.0"), LONG_SECONDS)
        async with running(Elector(store, await store.read(), A, LONG_SECONDS)) as elector:
            at_first = elector.rival
            await elector.until(lambda: elector.view.announcements["a"] == A)
            await store.announce(replace(A, uptime="a.9"), LONG_SECONDS)
            await elector.until(lambda: elector.rival is not None)

            assert at_first is None and elector.rival == replace(A, uptime="a.9")

    run(story)


# -- when the store does not answer ---------------------------------------------------------------


def test_a_store_that_does_not_answer_is_noticed_and_so_is_its_return(tmp_path: Path) -> None:
    async def story() -> None:
        store = FlakyStore.open(tmp_path / "record", "x")
        assert isinstance(store, FlakyStore)
        store.down = True
        async with running(Elector(store, View(), A, 0.3)) as elector:
            await elector.until(lambda: not elector.store_reachable)
            assert not elector.announced
            store.down = False
            await elector.until(lambda: elector.store_reachable)
            await elector.until(lambda: bool(elector.view.announcements))

    run(story)


def test_entering_waits_for_the_store_and_tells_of_later_starts(tmp_path: Path) -> None:
    async def story() -> None:
        store = FlakyStore.open(tmp_path / "record", "x")
        assert isinstance(store, FlakyStore)
        await store.swap(record(), 0)
        await store.raise_starts(NodeId("a"), 9)
        store.down = True

        first, counted = await enter(store, NodeId("a"), 4)

        assert counted == 9 and first.record == record()

    run(story)


# -- the view ---------------------------------------------------------------------------------------


def test_the_answer_to_a_swap_is_in_the_view_at_once() -> None:
    async def story() -> None:
        elector = Elector(ScriptedStore(view(record(), "a.1")), view(record(), "a.1"), A)

        await elector.swap(record(change="c1"), 1)

        assert elector.view == replace(view(record(change="c1"), "a.1"), revision=2)

    run(story)


def test_a_view_that_a_swap_has_overtaken_does_not_take_the_record_back() -> None:
    async def story() -> None:
        store = ScriptedStore(View())
        async with running(Elector(store, view(record()), A, LONG_SECONDS)) as elector:
            await elector.swap(record(change="c1"), 1)
            store.present = view(record(change="c1"), "b.1", revision=2)
            store.watched.put_nowait(view(record(), "b.1", revision=1))
            await elector.until(lambda: bool(elector.view.announcements))

            assert elector.view.record == record(change="c1") and elector.trouble is None

    run(story)


@pytest.mark.parametrize(
    "shown", [view(None), view(record(epoch=3), revision=2), view(record(epoch=2, change="c9"), revision=9)]
)
def test_a_store_that_was_put_back_is_not_believed_until_it_is_recovered(shown: View) -> None:
    async def story() -> None:
        known, recovered = view(record(epoch=3), revision=5), view(record(epoch=4), revision=1)
        store = ScriptedStore(shown)
        async with running(Elector(store, known, A, LONG_SECONDS)) as elector:
            store.watched.put_nowait(shown)
            await elector.until(lambda: elector.trouble is not None)
            kept, trouble = elector.view, elector.trouble

            store.present = recovered
            store.watched.put_nowait(recovered)
            await elector.until(lambda: elector.trouble is None)

            assert (kept.record, kept.revision) == (known.record, 5) and "springtide recover" in str(trouble)
            assert elector.view == recovered

    run(story)


def test_a_fresh_view_is_read_from_the_store() -> None:
    async def story() -> None:
        elector = Elector(ScriptedStore(view(record(epoch=2), revision=7)), view(record()), A)

        assert await elector.refresh() == view(record(epoch=2), revision=7)

    run(story)
