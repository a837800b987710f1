"""A simulated client that reads through the real client's cache, as it is told what changes.

It has one session, which tells it of commits in their order, and loads from any node. What it takes for the answer
is compared with what was committed: at the beginning of each transaction it fixes its snapshot, as ZODB does.
"""

from __future__ import annotations

import asyncio
from typing import Any

from springtide import errors
from springtide.client import messages
from springtide.client.kept import Kept
from springtide.client.shelf.rows import Identity
from springtide.engine.values import Loaded, Result
from springtide.records.ids import TID_ZERO, Oid, Tid, number
from springtide.records.ids import oid as make_oid
from springtide.records.ids import tid as make_tid
from springtide.testing.simulator import words
from springtide.testing.simulator.clients import ANSWER_SECONDS_MAX, OBJECTS
from springtide.testing.simulator.cluster import Cluster
from springtide.testing.simulator.loop import Life

CACHE_BYTES = 100_000
#: Between two transactions, and between two reads of one.
THINK_SECONDS = 0.3


class CachingClient:
    """Invariant: everything up to ``_kept.seen`` has been told, in order and without a gap."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.life = Life(name)
        self._random = cluster.chance.of("caching", name)
        self._nodes = sorted(cluster.nodes)
        self._kept = Kept(CACHE_BYTES, None)
        self._kept.restart(TID_ZERO, 0, Identity("", ""))
        self.reads = self.hits = 0

    async def run(self) -> None:
        """Until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._listen())
            tasks.create_task(self._read())

    @property
    def _seen(self) -> Tid:
        assert self._kept.seen is not None, "it was told where it begins"
        return self._kept.seen

    # -- what is told --------------------------------------------------------------------------

    async def _listen(self) -> None:
        while True:
            try:
                async with self._connected(self._random.choice(self._nodes)) as session:
                    await session.send((1, words.Watch(self._seen)))
                    while (message := await session.receive()) is not None:
                        _, told = message
                        if isinstance(told, Exception):
                            break
                        for tid, oids in told:
                            self._changed(tid, oids)
            except errors.SpringtideError:
                pass
            await asyncio.sleep(self._random.random() * THINK_SECONDS)

    def _changed(self, tid: Tid, oids: tuple[Oid, ...]) -> None:
        if tid > self._seen:
            self._kept.change(tid, oids, may_wait=False)

    # -- what is read --------------------------------------------------------------------------

    async def _read(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(1 / THINK_SECONDS))
            snapshot = self._seen
            for each in self._random.sample(range(1, OBJECTS + 1), self._random.randint(1, 3)):
                try:
                    await self._load(make_oid(each), make_tid(number(snapshot) + 1))
                except errors.SpringtideError:
                    break
                await asyncio.sleep(self._random.random() * THINK_SECONDS)

    async def _load(self, oid: Oid, before: Tid) -> None:
        self.reads += 1
        found = self._kept.cache.find(oid, before)
        if found is not None:
            self.hits += 1
            self._cluster.judge.cached(self.name, oid, before, found.tid, found.data)
            return
        floor = self._seen
        async with self._connected(self._random.choice(self._nodes)) as session:
            await session.send((1, words.Load(oid, before, floor)))
            try:
                async with asyncio.timeout(ANSWER_SECONDS_MAX):
                    answer = await session.receive()
            except TimeoutError:
                raise errors.Unreachable("no answer") from None
        if answer is None or isinstance(answer[1], Exception):
            raise errors.Unreachable("no answer")
        loaded = answer[1]
        assert isinstance(loaded, Loaded)
        if loaded.result is Result.FOUND:
            known = loaded.tid, loaded.next_tid, loaded.as_of
            self._kept.loaded(messages.Loaded(oid, messages.FOUND, loaded.data, *known))

    def _connected(self, node: str) -> Any:
        stream: Any = self._cluster.network.connect(self.life, self.name, node, "office")
        return stream
