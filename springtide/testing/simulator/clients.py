"""Simulated applications: they read, commit, lose their connections, ask what became of it, and try again.

The states of a transaction and the choice of nodes are the real client's (``client.transaction``, ``client.routing``).
"""

from __future__ import annotations

import asyncio
from typing import Any

from springtide import errors
from springtide.client import routing
from springtide.client import transaction as tx
from springtide.engine.values import Loaded, Result
from springtide.node.answers import Topology
from springtide.primary.votes import Voted
from springtide.records.entries import OidRange
from springtide.records.ids import TID_ZERO, Oid, Tid, number
from springtide.records.ids import oid as make_oid
from springtide.records.ids import tid as make_tid
from springtide.testing.simulator import words, workload
from springtide.testing.simulator.cluster import Cluster
from springtide.testing.simulator.loop import Life
from springtide.testing.simulator.network import End
from springtide.testing.simulator.notes import Notes, Work

#: Few, so that transactions meet.
OBJECTS = 6
ANSWER_SECONDS_MAX = 4.0
#: Between two transactions.
THINK_SECONDS = 0.12


class Client:
    """One application. It keeps to what a real client may do, and tells the judge what it was told."""

    def __init__(self, cluster: Cluster, name: str) -> None:
        self._cluster = cluster
        self._judge = cluster.judge
        self.name = name
        self.life = Life(name)
        self._random = cluster.chance.of("client", name)
        self._sessions: dict[str, End[Any, Any]] = {}
        self._asked = 0
        self._nodes = sorted(cluster.nodes)
        self._directory = routing.Directory(tuple(self._nodes))
        self._balance = routing.Balance()
        self._failures = 0
        self._seen = TID_ZERO
        self.notes = Notes(name, cluster.judge.notebook)
        self.commits = 0
        self.stopping = False

    async def run(self) -> None:
        while not self.stopping:
            await asyncio.sleep(self._random.expovariate(1 / THINK_SECONDS))
            await self.act()

    async def act(self) -> None:
        """One thing an application does; failures are part of life."""
        try:
            if self._random.random() < 0.06:
                given = await self._ask_primary(words.NewOids(3))
                assert isinstance(given, OidRange)
                self.notes.issued(given)
            else:
                await self._transaction()
            self._failures = 0
        except errors.SpringtideError:
            self._failures += 1
            await asyncio.sleep(routing.backoff_seconds(self._failures, self._random.random()))

    # -- transactions --------------------------------------------------------------------------

    async def _transaction(self) -> None:
        work = self.notes.begin(self._cluster.loop.now, strict=self._random.random() < 0.15)
        try:
            await self._begin(work)
            chosen = self._random.sample(range(1, OBJECTS + 1), self._random.randint(1, 3))
            for each in chosen:
                await self._load(work, make_oid(each))
            if self._random.random() < 0.3:
                work.ended(self._cluster.loop.now)
                return
            checked = chosen[1:] if self._random.random() < 0.3 else []
            await self._commit(work, [each for each in chosen if each not in checked], checked)
        except errors.SpringtideError as error:
            work.failed(self._cluster.loop.now, str(error))
            raise

    async def _begin(self, work: Work) -> None:
        """What the snapshot is that is read."""
        if work.strict:
            floor = self._judge.last_acknowledged
            tid = await self._ask_primary(words.Strict())
            assert isinstance(tid, bytes)
            self._judge.strict(Tid(tid), floor)
            self._seen = max(self._seen, Tid(tid))
        elif self._random.random() < 0.6:
            tid = await self._ask_some(words.Newest(self._seen))
            assert isinstance(tid, bytes)
            self._judge.session(self.name, self._seen, Tid(tid))
            self._seen = Tid(tid)
        work.snapshot = self._seen

    async def _load(self, work: Work, oid: Oid) -> None:
        assert work.snapshot is not None, "it has begun"
        before = make_tid(number(work.snapshot) + 1)
        loaded = await self._ask_some(words.Load(oid, before, work.snapshot))
        assert isinstance(loaded, Loaded)
        self._judge.read(self.name, oid, before, loaded)
        if loaded.result is Result.FOUND:
            work.read(oid, loaded.tid, loaded.data)

    async def _commit(self, work: Work, stored: list[int], checked: list[int]) -> None:
        chance = self._random.randbytes(16)
        id = tx.make_id(chance, self._seen)
        buffer = tx.Buffer()
        for each in (*stored, *checked):
            oid, kind = make_oid(each), tx.Kind.STORE if each in stored else tx.Kind.CHECK
            serial = work.serial(oid)
            data = workload.record(serial, id) if each in stored else None
            buffer.put(tx.Write(oid, serial, kind, data, blob=workload.blob(oid, id) if each in stored else None))
        work.tries(id, buffer)
        begun = tx.Begun(id, tx.Metadata(description=workload.description(buffer.checks.values())), buffer)
        state: tx.Begun | tx.Done | tx.Unknown | None = begun
        for _ in range(3):
            assert isinstance(state, tx.Begun)
            state = await self._attempt(work, state)
            if not isinstance(state, tx.Begun):
                break
            if self._random.random() < 0.5:
                self._judge.deny(id)
                break
        if isinstance(state, tx.Done):
            self._judge.acknowledge(id, state.tid)
            self.commits += 1
            self._seen = max(self._seen, state.tid)
            work.committed(self._cluster.loop.now, state.tid)
        elif not isinstance(state, tx.Unknown):
            work.failed(self._cluster.loop.now, "not committed")

    async def _attempt(self, work: Work, begun: tx.Begun) -> tx.Begun | tx.Done | tx.Unknown | None:
        """Vote and finish; None: it conflicts, or the application died before it finished."""
        session = await self._session(self._primary())
        vote = words.Vote(begun.id, begun.attempt, workload.wants(begun.buffer), begun.metadata.description)
        answer = await self._exchange(session, vote)
        assert isinstance(answer, Voted)
        if answer.conflicts:
            await self._exchange(session, words.Abort(begun.id, begun.attempt))
            return None
        if self._random.random() < 0.05:
            session.close()  # the application dies between vote and finish
            return None
        finishing = tx.finishing(tx.voted(begun, answer.epoch, {}))
        work.finishes()
        try:
            tid = await self._exchange(session, words.Finish(begun.id, begun.attempt, answer.epoch))
            assert isinstance(tid, bytes)
            return tx.Done(Tid(tid))
        except (errors.BadRequest, errors.TryAgain) as error:
            self._learn(error)
            return tx.settle(finishing, await self._outcome(begun, answer.epoch))

    async def _outcome(self, begun: tx.Begun, epoch: int) -> tx.Outcome:
        """Ask until somebody may answer. An application that gives up would not know."""
        while True:
            try:
                tid = await self._ask_primary(words.AskOutcome(begun.id, begun.attempt, epoch))
                return tx.Outcome(tx.Result.COMMITTED, Tid(tid)) if isinstance(tid, bytes) else tx.Outcome(NEVER)
            except errors.OutcomeUnknown:
                return tx.Outcome(tx.Result.FORGOTTEN)
            except errors.TryAgain:
                await asyncio.sleep(0.1)

    # -- the network -----------------------------------------------------------------------------

    def _primary(self) -> str:
        known = self._directory.primary_addresses()
        return known[0] if known and self._random.random() < 0.98 else self._random.choice(self._nodes)

    def _learn(self, error: errors.SpringtideError) -> None:
        if isinstance(error, errors.NotPrimary):
            self._directory.hint = error.primary or ""
            if not error.primary:
                self._directory = routing.Directory(tuple(self._nodes))

    async def _ask_primary(self, request: words.Request) -> words.Answer:
        try:
            return await self._exchange(await self._session(self._primary()), request)
        except errors.SpringtideError as error:
            self._learn(error)
            if isinstance(error, errors.Unreachable):
                self._directory = routing.Directory(tuple(self._nodes))
            raise

    async def _ask_some(self, request: words.Request) -> words.Answer:
        """As reads are balanced over the nodes."""
        loop = self._cluster.loop
        node = self._balance.choose(self._nodes, loop.now, self._random.random())
        assert node is not None, "there are nodes"
        self._balance.started(node)
        began = loop.now
        try:
            answer = await self._exchange(await self._session(node), request)
        except errors.NotCaughtUp:
            self._balance.behind(node, loop.now)
            raise
        except errors.SpringtideError:
            self._balance.failed(node, loop.now)
            raise
        self._balance.answered(node, loop.now - began)
        return answer

    async def _session(self, node: str) -> End[Any, Any]:
        session = self._sessions.get(node)
        if session is None or session.broken:
            session = await self._cluster.network.dial(self.life, self.name, node, "office")
            self._sessions[node] = session
            topology = await self._exchange(session, words.WhoLeads())
            assert isinstance(topology, Topology)
            nodes = tuple(routing.Node(n.id, n.address, n.primary, n.in_sync) for n in topology.nodes)
            self._directory.learn(routing.Topology(topology.epoch, topology.primary, nodes))
        return session

    async def _exchange(self, session: End[Any, Any], request: words.Request) -> words.Answer:
        self._asked += 1
        asked = self._asked
        try:
            await session.send((asked, request))
            async with asyncio.timeout(ANSWER_SECONDS_MAX):
                while (answer := await session.receive()) is not None and answer[0] != asked:
                    continue  # an answer that nobody waits for any more
        except BaseException as error:
            session.close()
            if isinstance(error, TimeoutError):
                raise errors.Unreachable("no answer") from None
            raise
        if answer is None:
            session.close()
            raise errors.Unreachable("the stream ended")
        if isinstance(answer[1], Exception):
            raise answer[1]
        return answer[1]  # type: ignore[no-any-return]


NEVER = tx.Result.NEVER
