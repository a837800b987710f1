"""Runs with a plot, for bugs that need several things in one order: chance would take very long to tell them.

The seed still decides about every delay. A story is also run without a bug, and must then break no promise.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from springtide import errors
from springtide.client import transaction as tx
from springtide.coordinator.elector import Elector
from springtide.primary.voting import Voted
from springtide.records.ids import NodeId, Tid, TransactionId
from springtide.records.ids import oid as make_oid
from springtide.testing.simulator import words, workload
from springtide.testing.simulator.clients import Client
from springtide.testing.simulator.cluster import Cluster, Parts, Plan, SimNode
from springtide.testing.simulator.platter import DiskSpeed
from springtide.testing.simulator.run import Report, stage
from springtide.testing.simulator.store import HOST

PATIENCE_SECONDS = 30.0
#: For what must be seen in the moment in which it is so.
GLANCE_SECONDS = 0.0002


class Stage:
    """A cluster, and the words in which stories are told."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.judge = cluster.judge
        self._work: list[asyncio.Task[None]] = []

    def node(self, name: str) -> SimNode:
        return self.cluster.nodes[name]

    async def until(self, condition: Callable[[], Any], every: float = 0.01, seconds: float = PATIENCE_SECONDS) -> None:
        """Wait for ``condition``; where it does not come, what the story is about is not shown, and it ends."""
        deadline = self.cluster.loop.now + seconds
        while not condition():
            if self.cluster.loop.now > deadline:
                raise Over(f"it did not come to it in {seconds:g} s")
            await asyncio.sleep(every)

    async def begin(self, *names: str) -> None:
        """The first of these nodes leads, and all of them are in sync."""
        first, *others = names
        self.node(first).start()
        await self.until(lambda: self.reigns(first))
        for name in others:
            self.node(name).start()
        await self.until(lambda: self.in_sync() == "".join(sorted(names)))

    def reigns(self, *names: str) -> bool:
        primary = self.cluster.primary()
        return primary is not None and primary.name in names

    def in_sync(self) -> str:
        record = self.cluster.store.record
        return "".join(sorted(member.node for member in record.in_sync)) if record is not None else ""

    def client(self, number: int) -> Client:
        return Client(self.cluster, f"client{number}")

    async def commits(self, client: Client, count: int) -> None:
        work = client.life.start(client.run())
        wanted = client.commits + count
        await self.until(lambda: client.commits >= wanted)
        client.stopping = True
        await asyncio.wait((work,), timeout=PATIENCE_SECONDS)
        client.stopping = False

    def cut(self, name: str, *others: str) -> None:
        """Both ways."""
        for other in others:
            self.cluster.network.cut(name, other)
            self.cluster.network.cut(other, name)

    def mend(self, name: str, *others: str) -> None:
        for other in others:
            self.cluster.network.mend(name, other)
            self.cluster.network.mend(other, name)

    def elector(self, name: str) -> Elector:
        core = self.node(name).core
        assert core is not None and core.elector is not None
        return core.elector

    def slow(self, name: str, sync_seconds: float) -> None:
        """From now on, while this process runs, its disk is slow."""
        engine = self.node(name)._engine
        assert engine is not None
        engine._speed = DiskSpeed(sync_seconds=sync_seconds, jitter_seconds=0.0, hang_chance=0.0)

    async def hand_over(self, to: str) -> None:
        primary = self.cluster.primary()
        assert primary is not None and primary.core is not None and primary.life is not None
        await primary.life.start(primary.core.hand_over(NodeId(to)))
        await self.until(lambda: self.reigns(to))

    async def ask(self, client: Client, node: str, request: words.Request) -> Any:
        """One question to one node; None where there is no answer, or an error."""
        try:
            return await client._exchange(await client._session(node), request)
        except errors.SpringtideError:
            return None

    async def strict(self, client: Client, node: str) -> None:
        floor = self.judge.last_acknowledged
        tid = await self.ask(client, node, words.Strict())
        if isinstance(tid, bytes):
            self.judge.strict(Tid(tid), floor)

    async def vote(self, client: Client, node: str, id: Any, number: int) -> int | None:
        """Vote on a write of an object that nobody has written; the epoch of the vote."""
        buffer = tx.Buffer()
        oid = make_oid(number)
        data = workload.record(Tid(bytes(8)), id)
        buffer.put(tx.Write(oid, Tid(bytes(8)), tx.Kind.STORE, data))
        voted = await self.ask(client, node, words.Vote(id, 1, workload.wants(buffer), b""))
        return voted.epoch if isinstance(voted, Voted) and not voted.conflicts else None


class Over(Exception):
    """The story did not come to its point."""


@dataclass(frozen=True, slots=True)
class Story:
    """Called with a seed and parts, it runs."""

    plot: Callable[[Stage], Awaitable[None]]
    plan: Plan = field(default_factory=lambda: Plan(nodes=3))

    def __call__(self, seed: int, parts: Parts) -> Report:
        async def play(cluster: Cluster, report: Report) -> None:
            try:
                await self.plot(Stage(cluster))
            except Over as over:
                cluster.tell(str(over))
            cluster.judge.check_end()

        return stage(seed, play, parts, self.plan)


def story(plan: Plan | None = None) -> Callable[[Callable[[Stage], Awaitable[None]]], Story]:
    return lambda plot: Story(plot, plan or Plan(nodes=3))


# -- deposed primaries ---------------------------------------------------------------------------


async def _a_is_deposed(stage: Stage) -> None:
    """a does not know it; clients can reach everybody."""
    await stage.begin("a", "b", "c")
    await stage.commits(stage.client(1), 3)
    stage.cut("a", "b", "c", HOST)
    await stage.until(lambda: stage.reigns("b", "c"))
    await stage.commits(stage.client(2), 3)


@story()
async def DEPOSED_IS_ASKED(stage: Stage) -> None:
    """A strict read of a primary that was deposed, and a question about a transaction of its successor."""
    await _a_is_deposed(stage)
    client = stage.client(1)
    await stage.strict(client, "a")
    id = stage.judge.state.transactions[stage.judge.state.last_tid]
    record = stage.cluster.store.record
    assert record is not None
    session = await client._session("a")
    try:
        if await client._exchange(session, words.AskOutcome(id, 1, record.epoch)) is None:
            stage.judge.deny(id)
    except errors.SpringtideError:
        pass


@story()
async def PAUSED_IS_ASKED(stage: Stage) -> None:
    """A primary is paused for so long that another one takes over; it goes on with a question in its socket."""
    await stage.begin("a", "b", "c")
    await stage.commits(stage.client(1), 3)
    life = stage.node("a").life
    assert life is not None
    client = stage.client(1)
    await client._session("a")
    life.pause(stage.cluster.loop)
    await stage.until(lambda: stage.reigns("b", "c"))
    await stage.commits(stage.client(2), 3)
    asking = client.life.start(stage.strict(client, "a"))
    await asyncio.sleep(0.2)
    life.resume(stage.cluster.loop)
    await asking


@story(Plan(nodes=2))
async def ASKED_TO_JOIN_AND_LEADS(stage: Stage) -> None:
    """b was asked to join; the answer is lost. b takes over, and commits alone. a is asked for a strict read."""
    stage.node("a").start()
    await stage.until(lambda: stage.reigns("a"))
    await stage.commits(stage.client(1), 3)
    core = stage.node("a").core
    assert core is not None
    stage.node("b").start()
    await stage.until(lambda: core.membership is not None and not core.membership.settled, GLANCE_SECONDS)
    stage.cluster.network.cut(HOST, "a")
    await stage.until(lambda: stage.in_sync() == "ab")
    stage.cluster.network.cut("a", HOST)
    stage.cut("a", "b")
    await stage.ask(stage.client(1), "a", words.NewOids(3))  # waits for b
    await stage.until(lambda: stage.reigns("b"))
    await stage.commits(stage.client(2), 3)
    await stage.strict(stage.client(1), "a")


@story()
async def A_NEW_DISK_CONFIRMS(stage: Stage) -> None:
    """The set was a and b. b took over with c, and its disk was lost: the new one is told of the first epoch."""
    await stage.begin("a", "b", "c")
    await stage.commits(stage.client(1), 3)
    stage.node("c").crash()
    await stage.until(lambda: stage.in_sync() == "ab")
    stage.cut("a", "b", "c", HOST)
    await stage.until(lambda: stage.reigns("b"))
    stage.node("c").start()
    await stage.until(lambda: stage.in_sync() == "bc")
    await stage.commits(stage.client(2), 3)
    stage.node("b").crash()
    stage.node("b").insert_disk()
    stage.mend("a", "b")
    stage.node("b").start()
    client = stage.client(1)
    await stage.strict(client, "a")


@story()
async def A_FOLLOWER_MEETS_A_DEPOSED_PRIMARY(stage: Stage) -> None:
    """c begins again, and is told of the first epoch, whose primary still answers."""
    await stage.begin("a", "b", "c")
    for other in ("b", HOST, "client1"):
        stage.cut("a", other)
    stage.node("c").crash()
    await stage.until(lambda: stage.reigns("b"))
    stage.node("c").start()
    await stage.until(lambda: stage.in_sync() == "bc" or stage.in_sync() == "abc")
    client = stage.client(1)
    work = client.life.start(client.run())
    await stage.until(lambda: client.commits >= 5)
    stage.node("c").crash()
    stage.node("c").start()
    await asyncio.sleep(3.0)
    work.cancel()


# -- new primaries -------------------------------------------------------------------------------


@story()
async def A_NEW_PRIMARY_IS_ASKED_AT_ONCE(stage: Stage) -> None:
    """A primary dies with a commit that it had told nobody of, and the disks of the others are slow."""
    await stage.begin("a", "b", "c")
    client = stage.client(1)
    work = client.life.start(client.run())
    await stage.until(lambda: client.commits >= 3)
    b, c = stage.node("b")._engine, stage.node("c")._engine
    assert b is not None and c is not None

    def unknown() -> bool:
        acknowledged = stage.judge.last_acknowledged
        return acknowledged > b.commit_tid and acknowledged > c.commit_tid

    await stage.until(unknown, GLANCE_SECONDS)
    stage.node("a").crash()
    work.cancel()
    for name in ("b", "c"):
        stage.slow(name, 0.3)
    await stage.until(lambda: stage.reigns("b", "c"))
    primary = stage.cluster.primary()
    assert primary is not None
    await stage.strict(stage.client(2), primary.name)


@story()
async def A_SLOW_DISK_COMES_BACK(stage: Stage) -> None:
    """c holds what b knows to be committed, and not what is. b takes over; c comes back with a slow disk."""
    await stage.begin("a", "b", "c")
    stage.node("c").crash()
    await stage.until(lambda: stage.in_sync() == "ab")
    stage.cut("a", HOST)
    elector = stage.elector("a")
    await stage.until(lambda: not elector.store_reachable)
    stage.node("c").start()
    client = stage.client(1)
    work = client.life.start(client.run())
    await stage.until(lambda: client.commits >= 3)
    b, c = stage.node("b")._engine, stage.node("c")._engine
    assert b is not None and c is not None
    stage.slow("c", 0.05)
    end = lambda: len(stage.judge.points) - 1  # noqa: E731
    await stage.until(lambda: b.commit_lsn <= c.durable < end() == b.durable, GLANCE_SECONDS)
    stage.node("a").crash()
    stage.node("c").crash()
    work.cancel()
    await stage.until(lambda: stage.reigns("b"))
    stage.node("c").start()
    stage.slow("c", 2.0)
    await asyncio.sleep(3.0)


@story()
async def A_PRIMARY_LEADS_AGAIN(stage: Stage) -> None:
    """a appended what only c acknowledged. b takes over without it; later a leads again, and c's disk is slow."""
    await stage.begin("a", "b", "c")
    await stage.commits(stage.client(1), 3)
    stage.cut("a", "b")
    client = stage.client(1)
    asked = [client.life.start(stage.ask(stage.client(number), "a", words.NewOids(3))) for number in range(3, 13)]
    await asyncio.sleep(0.3)
    stage.cut("a", HOST)
    stage.cut("c", "a", HOST)
    await stage.until(lambda: stage.reigns("b"))
    stage.cluster.network.heal()
    await stage.until(lambda: stage.in_sync() == "abc")
    for each in asked:
        each.cancel()
    await stage.until(lambda: stage.judge.converged(["a", "b", "c"]) == [])
    await stage.until(lambda: {NodeId("a"), NodeId("c")} <= stage.elector("b").view.announcements.keys())
    switch = asyncio.ensure_future(stage.hand_over("a"))
    record = stage.cluster.store.record
    assert record is not None
    await stage.until(lambda: stage.cluster.store.record.epoch > record.epoch, GLANCE_SECONDS)  # type: ignore[union-attr]
    stage.slow("c", 1.0)
    await switch
    await asyncio.sleep(2.0)


# -- late finishes -------------------------------------------------------------------------------


@story()
async def A_FINISH_IS_LATE(stage: Stage) -> None:
    """A finish waits on a cut link; its application asks from elsewhere what became of it; then the link is mended."""
    await stage.begin("a", "b", "c")
    await stage.commits(stage.client(3), 3)
    client, other = stage.client(1), stage.client(2)
    id = TransactionId(bytes(range(16)) + bytes(8))
    epoch = await stage.vote(client, "a", id, 77)
    assert epoch is not None
    stage.cluster.network.cut("client1", "a")
    finishing = client.life.start(stage.ask(client, "a", words.Finish(id, 1, epoch)))
    await asyncio.sleep(0.5)
    session = await other._session("a")
    try:
        if await other._exchange(session, words.AskOutcome(id, 1, epoch)) is None:
            stage.judge.deny(id)
    except errors.SpringtideError:
        pass
    stage.cluster.network.mend("client1", "a")
    await finishing
    await asyncio.sleep(1.0)


@story()
async def A_FINISH_MEETS_A_LATER_REIGN(stage: Stage) -> None:
    """A vote of a's first reign is finished in its second one; in between another primary committed the same object."""
    await stage.begin("a", "b", "c")
    client, other = stage.client(1), stage.client(2)
    mine = TransactionId(bytes(range(16)) + bytes(8))
    theirs = TransactionId(bytes(range(1, 17)) + bytes(8))
    epoch = await stage.vote(client, "a", mine, 77)
    assert epoch is not None
    await stage.hand_over("b")
    between = await stage.vote(other, "b", theirs, 77)
    await stage.ask(other, "b", words.Finish(theirs, 1, between or 0))
    await stage.hand_over("a")
    await asyncio.sleep(0.5)
    await stage.ask(client, "a", words.Finish(mine, 1, epoch))


# -- disks that were lost ------------------------------------------------------------------------


@story(Plan(nodes=2))
async def THE_LAST_ONE_HAS_A_NEW_DISK(stage: Stage) -> None:
    """a has started often, and loses its disk; b goes away for good; then a starts once more, and must lead."""
    await stage.begin("a", "b")
    for _ in range(4):
        stage.node("a").crash()
        stage.node("a").start()
        await asyncio.sleep(1.0)
    stage.node("a").crash()
    stage.node("a").insert_disk()
    stage.node("a").start()
    await stage.until(lambda: stage.reigns("b"))
    await stage.until(lambda: stage.in_sync() == "ab")
    stage.node("b").crash()
    await stage.until(lambda: stage.in_sync() == "a" and stage.reigns("a"))
    stage.node("a").crash()
    stage.node("a").start()
    try:
        await stage.until(lambda: stage.reigns("a"), seconds=20)
    except Over:
        stage.judge.violated("20 s after everything healed: a holds everything, and does not lead")


# -- disks that are no use -------------------------------------------------------------------------


@story()
async def A_DISK_HANGS(stage: Stage) -> None:
    """c says that it is there, and its disk takes nothing: commits must go on without it."""
    await stage.begin("a", "b", "c")
    client = stage.client(1)
    await stage.commits(client, 3)
    stage.slow("c", 60.0)
    began = stage.cluster.loop.now
    if await stage.ask(client, "a", words.NewOids(3)) is None:
        waited = stage.cluster.loop.now - began
        stage.judge.violated(f"stall: nothing is committed for {waited:g} s while one disk hangs")
