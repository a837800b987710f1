"""Simulated applications: they read, commit, lose their connections, ask what became of it, and try again."""

from __future__ import annotations

import asyncio
from typing import Any

from springtide import errors
from springtide.primary.voting import Voted
from springtide.records.entries import OidRange
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId
from springtide.records.ids import oid as make_oid
from springtide.testing.simulator import office, workload
from springtide.testing.simulator.cluster import Cluster
from springtide.testing.simulator.loop import Life
from springtide.testing.simulator.network import End

#: Few, so that transactions meet.
OBJECTS = 6
ANSWER_SECONDS_MAX = 4.0


class Client:
    """One application. It keeps to what a real client may do, and tells the judge what it was told."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._judge = cluster.judge
        self.name = name
        self.life = Life(name)
        self._random = cluster.chance.of("client", name)
        self._primary = ""
        self._seen = TID_ZERO
        self._known: dict[Oid, Tid] = {}
        self.commits = 0
        self.stopping = False

    async def run(self) -> None:
        while not self.stopping:
            await asyncio.sleep(self._random.expovariate(1 / 0.05))
            await self.act()

    async def act(self) -> None:
        """One thing an application does; failures are part of life."""
        try:
            match self._random.choices(("commit", "load", "strict", "oids"), (10, 5, 2, 1))[0]:
                case "commit":
                    await self.commit()
                case "load":
                    await self._load(self._random.choice(sorted(self._cluster.nodes)), self._oid())
                case "strict":
                    await self._strict()
                case "oids":
                    answer = await self._ask(self._guess(), office.NewOids(3))
                    assert isinstance(answer, OidRange)
        except errors.SpringtideError as error:
            self._learn(error)

    # -- reads ---------------------------------------------------------------------------------

    def _oid(self) -> Oid:
        return make_oid(self._random.randint(1, OBJECTS))

    async def _load(self, node: str, oid: Oid) -> None:
        loaded = await self._ask(node, office.Load(oid, self._seen))
        assert isinstance(loaded, office.Loaded)
        if loaded.as_of < self._seen:
            self._judge.violated(f"{self.name} saw {self._seen.hex()}, and {node} answers as of {loaded.as_of.hex()}")
        self._judge.read(node, oid, loaded.tid, loaded.data, loaded.as_of)
        self._seen = max(self._seen, loaded.as_of)
        self._known[oid] = loaded.tid

    async def _strict(self) -> None:
        floor = self._judge.last_acknowledged
        tid = await self._ask(self._guess(), office.Strict())
        assert isinstance(tid, bytes)
        self._judge.strict(Tid(tid), floor)

    # -- commits -------------------------------------------------------------------------------

    async def commit(self) -> None:
        oids = self._random.sample(range(1, OBJECTS + 1), self._random.randint(1, 3))
        for number in oids:
            if make_oid(number) not in self._known or self._random.random() < 0.5:
                await self._load(self._random.choice(sorted(self._cluster.nodes)), make_oid(number))
        based = [(make_oid(number), self._known[make_oid(number)]) for number in oids]
        checks = based[1:] if self._random.random() < 0.3 else []
        stores = [each for each in based if each not in checks]
        id = TransactionId(self._random.randbytes(16) + self._seen)
        for attempt in range(1, 4):
            if await self._attempt(id, attempt, stores, checks):
                return

    async def _attempt(
        self, id: TransactionId, attempt: int, stores: list[tuple[Oid, Tid]], checks: list[tuple[Oid, Tid]]
    ) -> bool:
        """Vote and finish; whether that is the end of this transaction."""
        vote = office.Vote(id, attempt, workload.wants(id, stores, checks), workload.description(checks))
        node = self._guess()
        async with self._cluster.network.connect(self.life, self.name, node, "office") as stream:
            voted = await self._exchange(stream, vote)
            assert isinstance(voted, Voted)
            if voted.conflicts:
                for conflict in voted.conflicts:
                    self._known.pop(conflict.oid, None)
                return True
            if self._random.random() < 0.05:
                return True  # the application dies between vote and finish
            try:
                tid = await self._exchange(stream, office.Finish(id, attempt, voted.epoch))
            except errors.BadRequest:
                return True  # refused before anything was appended; asking is left to another run
            except errors.TryAgain as error:
                self._learn(error)
                tid = await self._outcome(id, attempt, voted.epoch)
        if tid is None:
            if self._random.random() < 0.5:
                return False  # vote again, under a new attempt
            self._judge.deny(id)
            return True
        assert isinstance(tid, bytes)
        self._committed(id, Tid(tid), stores)
        return True

    def _committed(self, id: TransactionId, tid: Tid, stores: list[tuple[Oid, Tid]]) -> None:
        self._judge.acknowledge(id, tid)
        self.commits += 1
        self._seen = max(self._seen, tid)
        for oid, _ in stores:
            self._known[oid] = tid

    async def _outcome(self, id: TransactionId, attempt: int, epoch: int) -> Any:
        """Ask until somebody may answer. An application that gives up would not know."""
        while True:
            try:
                return await self._ask(self._guess(), office.AskOutcome(id, attempt, epoch))
            except errors.TryAgain as error:
                self._learn(error)
                await asyncio.sleep(0.1)

    # -- the network -----------------------------------------------------------------------------

    def _guess(self) -> str:
        if not self._primary or self._random.random() < 0.02:
            self._primary = self._random.choice(sorted(self._cluster.nodes))
        return self._primary

    def _learn(self, error: errors.SpringtideError) -> None:
        self._primary = (error.primary if isinstance(error, errors.NotPrimary) else "") or ""

    async def _ask(self, node: str, request: office.Request) -> office.Answer:
        async with self._cluster.network.connect(self.life, self.name, node, "office") as stream:
            return await self._exchange(stream, request)

    async def _exchange(self, stream: End[Any, Any], request: office.Request) -> office.Answer:
        await stream.send((0, request))
        try:
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                answer = await stream.receive()
        except TimeoutError:
            raise errors.Unreachable("no answer") from None
        if answer is None:
            raise errors.Unreachable("the stream ended")
        if isinstance(answer[1], Exception):
            raise answer[1]
        return answer[1]  # type: ignore[no-any-return]
