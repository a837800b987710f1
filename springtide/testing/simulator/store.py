"""The coordinator's store in memory, across the simulated network: swaps land late, and answers are lost.

Keeps the promises of ``coordinator.store.Store`` and nothing more: what a call said
was ``Unreachable`` may have been done, may be done later, or never.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from springtide import errors
from springtide.coordinator.store import Announcement, Refused, Swapped, View
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.loop import Life
from springtide.testing.simulator.network import Network

T = TypeVar("T")

#: The store's name on the network.
HOST = "store"
ANSWER_SECONDS_MAX = 1.0


class StoreServer:
    """The one copy of the record."""

    def __init__(self, on_record: Callable[[Record], None] = lambda record: None) -> None:
        self.record: Record | None = None
        self.revision = 0
        self.out = False
        self.changes: dict[object, asyncio.Event] = {}
        self._announced: dict[NodeId, tuple[Announcement, float]] = {}
        self._starts: dict[NodeId, int] = {}
        self._on_record = on_record

    def view(self) -> View:
        now = asyncio.get_running_loop().time()
        valid = {node: told for node, (told, until) in sorted(self._announced.items()) if until > now}
        return View(self.revision, self.record, valid, dict(self._starts))

    def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        if self.revision != expected_revision:
            return Refused(self.view())
        self.record, self.revision = record, self.revision + 1
        self._on_record(record)
        self._changed()
        return Swapped(self.view())

    def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        loop = asyncio.get_running_loop()
        self._announced[announcement.node] = announcement, loop.time() + ttl_seconds
        loop.call_later(ttl_seconds + 1e-6, self._changed)
        self._changed()

    def withdraw(self, node: NodeId, uptime: str) -> None:
        told = self._announced.get(node)
        if told is not None and told[0].uptime == uptime:
            del self._announced[node]
            self._changed()

    def raise_starts(self, node: NodeId, starts: int) -> int:
        self._starts[node] = max(self._starts.get(node, 0), starts)
        return self._starts[node]

    def _changed(self) -> None:
        for event in self.changes.values():
            event.set()


class SimStore:
    """One process's client of the store."""

    def __init__(self, server: StoreServer, network: Network, life: Life, chance: Chance) -> None:
        self._server, self._network, self._life = server, network, life
        self._node = life.name.partition("#")[0]
        self._random = chance.of("store", life.name)
        self._watching = chance.of("watch", life.name)
        #: How often an answer is lost although the request was heard, or comes too late.
        self.lost_chance = 0.02
        self.closed = False

    async def read(self) -> View:
        return await self._ask(self._server.view)

    async def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        return await self._ask(lambda: self._server.swap(record, expected_revision))

    async def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        await self._ask(lambda: self._server.announce(announcement, ttl_seconds))

    async def withdraw(self, node: NodeId, uptime: str) -> None:
        await self._ask(lambda: self._server.withdraw(node, uptime))

    async def raise_starts(self, node: NodeId, starts: int) -> int:
        return await self._ask(lambda: self._server.raise_starts(node, starts))

    async def close(self) -> None:
        self.closed = True

    async def watch(self) -> AsyncIterator[View]:
        changed = self._server.changes[self] = asyncio.Event()
        changed.set()
        try:
            while not (self.closed or self._life.over):
                await changed.wait()
                changed.clear()
                await asyncio.sleep(self._network.latency(self._watching))
                while not self._reachable():
                    await asyncio.sleep(0.1)
                yield self._server.view()
        finally:
            self._server.changes.pop(self, None)
        raise errors.Unreachable("the store was closed here")

    def _reachable(self) -> bool:
        cut = self._network.is_cut(self._node, HOST) or self._network.is_cut(HOST, self._node)
        return not (cut or self._server.out)

    async def _ask(self, act: Callable[[], T]) -> T:
        """Do ``act`` at the store after a while; its answer, if that comes back in time."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        heard = self._network.is_cut(self._node, HOST) is False and not self._server.out
        lost = self._random.random() < self.lost_chance
        late = self._random.random() * 4 * ANSWER_SECONDS_MAX if lost else 0.0
        there, back = self._network.latency(self._random), self._network.latency(self._random)

        def arrive() -> None:
            if self._server.out:
                return
            result = act()
            if not lost and not self._network.is_cut(HOST, self._node):
                loop.call_later(back, deliver, result, context=self._network.context)

        def deliver(result: T) -> None:
            if not answer.done():
                answer.set_result(result)

        if heard:
            loop.call_later(there + late, arrive, context=self._network.context)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await answer
        except TimeoutError:
            raise errors.Unreachable("the store does not answer") from None
