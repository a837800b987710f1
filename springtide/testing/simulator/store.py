"""The coordinator's store in memory, across the simulated network: swaps land late or twice, and answers are lost.

Keeps the promises of ``coordinator.store.Store`` and nothing more: what a call said
was ``Unreachable`` may have been done, may be done later, or never. Some faults break
those promises as real stores have done: stale reads, leases that are lost early, and
a database that was put back to an older copy. Safety must not rest on them.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from springtide import errors
from springtide.coordinator.store import Announcement, Refused, Swapped, View, settle
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.loop import Life, here
from springtide.testing.simulator.network import Network

T = TypeVar("T")

#: The store's name on the network.
HOST = "store"
ANSWER_SECONDS_MAX = 1.0
#: Former records that a stale read may show.
FORMER_MAX = 50


class StoreServer:
    """The one copy of the record."""

    def __init__(self, on_record: Callable[[Record], None] = lambda record: None) -> None:
        self.record: Record | None = None
        self.revision = 0
        self.out = False
        #: How often it was put back: what was under way to it before does not arrive.
        self.runs = 1
        #: Records by which a node made itself the primary.
        self.takeovers = 0
        #: Reads and watches show the record as it was so long ago.
        self.stale_seconds = 0.0
        #: How often answers are lost or late for everybody; None: as often as each client says.
        self.lost_chance: float | None = None
        #: It was put back, and nobody has written its record again yet.
        self.doubted = False
        self.changes: dict[object, asyncio.Event] = {}
        self._former: list[tuple[float, int, Record | None]] = [(0.0, 0, None)]
        self._announced: dict[NodeId, tuple[Announcement, float]] = {}
        self._starts: dict[NodeId, int] = {}
        self._on_record = on_record

    def view(self) -> View:
        now = here().now
        valid = {node: told for node, (told, until) in sorted(self._announced.items()) if until > now}
        return View(self.revision, self.record, valid, dict(self._starts))

    def shown(self) -> View:
        """What a read is answered."""
        view = self.view()
        if not self.stale_seconds:
            return view
        then = here().now - self.stale_seconds
        _, revision, record = next((f for f in reversed(self._former) if f[0] <= then), self._former[0])
        return View(revision, record, view.announcements, view.starts)

    def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        if self.revision != expected_revision:
            return Refused(self.view())
        self.record, self.revision = record, self.revision + 1
        self._remember()
        self._on_record(record)
        self.announce_change()
        return Swapped(self.view())

    def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        loop = here()
        self._announced[announcement.node] = announcement, loop.now + ttl_seconds
        loop.post(loop.now + ttl_seconds + 1e-6, self.announce_change)
        self.announce_change()

    def withdraw(self, node: NodeId, uptime: str) -> None:
        told = self._announced.get(node)
        if told is not None and told[0].uptime == uptime:
            del self._announced[node]
            self.announce_change()

    def raise_starts(self, node: NodeId, starts: int) -> int:
        self._starts[node] = max(self._starts.get(node, 0), starts)
        return self._starts[node]

    # -- faults ----------------------------------------------------------------------------------

    def lose_leases(self) -> None:
        """Every announcement ends before its time."""
        self._announced.clear()
        self.announce_change()

    def put_back(self, seconds: float) -> None:
        """The database is what a backup of so many seconds ago holds."""
        then = here().now - seconds
        _, self.revision, self.record = next((f for f in reversed(self._former) if f[0] <= then), self._former[0])
        self._announced.clear()
        self.doubted = True
        self.runs += 1
        self._former = [(here().now, self.revision, self.record)]
        self.announce_change()

    def recovered(self, record: Record) -> None:
        """By the operator."""
        self.doubted = False
        self.swap(record, self.revision)

    def _remember(self) -> None:
        self._former.append((here().now, self.revision, self.record))
        del self._former[1:-FORMER_MAX]

    def announce_change(self) -> None:
        for event in self.changes.values():
            event.set()


class SimStore:
    """One process's client of the store."""

    def __init__(self, server: StoreServer, network: Network, life: Life, chance: Chance) -> None:
        self._server, self._network, self._life = server, network, life
        self._node = life.name.partition("#")[0]
        self._there, self._back = network.link(self._node, HOST), network.link(HOST, self._node)
        self._random = chance.of("store", life.name)
        #: How often an answer is lost although the request was heard, or comes too late.
        self.lost_chance = 0.02
        self.closed = False

    async def read(self) -> View:
        return await self._ask(self._server.shown)

    async def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        answer = await self._ask(lambda: self._swap(record, expected_revision))
        # What was heard twice is refused the second time: whose record it is tells.
        return settle(answer.view, record, expected_revision) or answer

    def _swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        former, answer = self._server.record, self._server.swap(record, expected_revision)
        if isinstance(answer, Swapped) and former is not None and former.epoch < record.epoch:
            self._server.takeovers += record.primary.node == self._node
        return answer

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
                await asyncio.sleep(self._back.latency())
                while not self._reachable():
                    await asyncio.sleep(0.1)
                yield self._server.shown()
        finally:
            self._server.changes.pop(self, None)
        raise errors.Unreachable("the store was closed here")

    def _reachable(self) -> bool:
        return not (self._there.cuts or self._back.cuts or self._server.out)

    async def _ask(self, act: Callable[[], T]) -> T:
        """Do ``act`` at the store after a while; its answer, if that comes back in time."""
        loop, server = self._network.loop, self._server
        answer: asyncio.Future[T] = loop.create_future()
        lost = self._random.random() < (server.lost_chance if server.lost_chance is not None else self.lost_chance)
        late = self._random.random() * 4 * ANSWER_SECONDS_MAX if lost else 0.0
        times = 0 if self._there.cuts or self._there.loses() or server.out else 2 if self._there.repeats() else 1

        run = server.runs

        def arrive() -> None:
            if server.out or server.runs != run:
                return
            result = act()
            if not lost and not self._back.cuts and not self._back.loses():
                self._later(self._back.latency_of_call(), deliver, result)

        def deliver(result: T) -> None:
            if not answer.done():
                answer.set_result(result)

        for _ in range(times):
            self._later(self._there.latency_of_call() + late, arrive)
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                return await answer
        except TimeoutError:
            raise errors.Unreachable("the store does not answer") from None

    def _later(self, seconds: float, act: Callable[..., None], *arguments: object) -> None:
        """Not by this node's clock, and also while it is paused."""
        self._network.loop.post(self._network.loop.now + seconds, act, *arguments)
