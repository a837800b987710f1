"""Nodes that run the real ``NodeCore`` on simulated disks, network and store."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Any

from springtide import errors
from springtide.node.core import NodeCore, Settings
from springtide.primary import feeder
from springtide.primary.leadership import Settings as ReignSettings
from springtide.records import feed
from springtide.records.blobs import Named
from springtide.records.feed import Downward, Upward
from springtide.records.ids import NodeId
from springtide.records.snapshot import Begin, End, Resume, Rows, SnapshotMessage
from springtide.replica.follower import Follower
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.disk import SimEngine
from springtide.testing.simulator.invariants import Judge
from springtide.testing.simulator.loop import Life, VirtualLoop
from springtide.testing.simulator.marker import opens
from springtide.testing.simulator.network import End as StreamEnd
from springtide.testing.simulator.network import Network, Speed
from springtide.testing.simulator.office import Office
from springtide.testing.simulator.operator import Operator
from springtide.testing.simulator.platter import DiskSpeed, Identity, Platter
from springtide.testing.simulator.state import TABLES
from springtide.testing.simulator.store import SimStore, StoreServer

#: Rows of one snapshot message: small, so that snapshots are interrupted.
SNAPSHOT_BYTES = 200
#: 2023, when no node's clock was wrong yet.
WALL_BEGAN = 1_700_000_000.0


class SimPeers:
    def __init__(self, network: Network, life: Life, node: str) -> None:
        self._network, self._life, self._node = network, life, node

    def feed(self, address: str) -> AbstractAsyncContextManager[StreamEnd[Upward, Downward]]:
        return self._network.connect(self._life, self._node, address, "feed")

    async def snapshot(self, address: str, cluster: str, resume: Resume | None) -> AsyncIterator[SnapshotMessage]:
        async with self._network.connect(self._life, self._node, address, "snapshot") as stream:
            await stream.send((cluster, resume))
            while True:
                try:
                    async with asyncio.timeout(3.0):
                        message = await stream.receive()
                except TimeoutError:
                    raise errors.Unreachable(f"the snapshot from {address} stopped") from None
                if message is None:
                    return
                yield message

    async def blob(self, address: str, cluster: str, named: Named, offset: int) -> AsyncGenerator[bytes, None]:
        async with self._network.connect(self._life, self._node, address, "blob") as stream:
            await stream.send(named.blob.id)
            while True:
                try:
                    async with asyncio.timeout(3.0):
                        data = await stream.receive()
                except TimeoutError:
                    raise errors.Unreachable(f"a file from {address} stopped") from None
                if data is None:
                    return
                yield data

    async def refuses(self, address: str) -> bool:
        return await self._network.refuses(self._node, address)


@dataclass(frozen=True, slots=True)
class Parts:
    """What nodes are made of; a test plants its bug by replacing one."""

    engine: type[SimEngine] = SimEngine
    core: type[NodeCore] = NodeCore
    follower: type[Follower] = Follower
    client_of_store: type[SimStore] = SimStore
    store: type[StoreServer] = StoreServer
    #: The name of a node's nth run, and of its nth disk.
    uptime: Callable[[str, int], str] = "{}#{}".format
    incarnation: Callable[[str, int], str] = "{}{}".format


@dataclass(frozen=True, slots=True)
class Plan:
    """What a seed decided about its cluster."""

    nodes: int = 3
    disk: DiskSpeed = field(default_factory=DiskSpeed)
    network: Speed = field(default_factory=Speed)
    clock_error_seconds: float = 0.0
    #: For how long primaries remember what became of a transaction.
    outcomes_kept_seconds: float = 86400.0


class SimNode:
    """One node, through all its lives."""

    def __init__(self, cluster: Cluster, name: str, address: str) -> None:
        self._cluster = cluster
        self.name, self.address = name, address
        self.runs = 0
        self.disks = 0
        rnd = cluster.chance.of("clock", name)
        #: The wall clock is ahead by so much; both clocks go at this rate.
        self.clock_error = rnd.uniform(-1, 1) * cluster.plan.clock_error_seconds
        self.rate = 1.0
        self.life: Life | None = None
        self.core: NodeCore | None = None
        self._engine: SimEngine | None = None
        self._task: asyncio.Task[None] | None = None
        self.insert_disk()

    def insert_disk(self) -> None:
        """An empty one."""
        self.disks += 1
        incarnation = self._cluster.parts.incarnation(self.name, self.disks)
        self._cluster.platters[self.name] = Platter(Identity(self.name, incarnation))
        self._cluster.judge.changed(self.name)

    @property
    def platter(self) -> Platter:
        return self._cluster.platters[self.name]

    @property
    def up(self) -> bool:
        return self.life is not None

    def start(self) -> None:
        cluster = self._cluster
        if self.platter.health.flipped:
            # A start reads the whole log.
            cluster.tell(f"{self.name} does not start: its log is damaged. The operator gives it another disk")
            self.insert_disk()
        self.runs += 1
        name = f"{self.name}#{self.runs}"
        life = self.life = Life(name, self.rate, cluster.loop.now)
        fresh = cluster.chance.of("fresh", name)
        engine = cluster.parts.engine(self.platter, life, cluster.chance, cluster.plan.disk, cluster.judge)
        loop = asyncio.get_running_loop()
        core = cluster.parts.core(
            engine,
            cluster.parts.client_of_store(cluster.store, cluster.network, life, cluster.chance),
            SimPeers(cluster.network, life, self.name),
            NodeId(self.name),
            self.address,
            cluster.parts.uptime(self.name, self.runs),
            Settings(
                initial_nodes=cluster.plan.nodes,
                reign=ReignSettings(outcomes_kept_seconds=cluster.plan.outcomes_kept_seconds),
            ),
            lambda: WALL_BEGAN + loop.time() + self.clock_error,
            lambda: f"{fresh.getrandbits(64):016x}",
        )
        engine.on_failure = lambda error: self._failed(life, error)
        core.open_marker = opens(lambda: self.platter.state)
        self._engine, self.core = engine, core
        core.on_committed.append(lambda committed: cluster.judge.told(self.name, committed))
        office = Office(core, engine)
        cluster.network.listen(self.address, life, "feed", lambda end: _feed(core, end))
        cluster.network.listen(self.address, life, "blob", lambda end: _file(engine, end))
        cluster.network.listen(self.address, life, "snapshot", lambda end: _snapshot(cluster.seen, core, engine, end))
        cluster.network.listen(self.address, life, "office", office.serve)
        self._task = life.start(self._run(core, life))

    async def _run(self, core: NodeCore, life: Life) -> None:
        try:
            await core.run()
        except Exception as error:
            if life.over:
                return
            self._cluster.tell(f"{self.name} stops: {type(error).__name__}: {error}")
            # A node with data does not begin a new cluster, nor go on in one that its store has forgotten.
            excused = isinstance(error, errors.NoRecord) and (self._cluster.store.doubted or self._cluster.stale)
            excused |= isinstance(error, errors.Damaged) and self.platter.health.damaged
            if not excused and not isinstance(error, errors.DiskFailed | errors.Unreachable):
                self._cluster.judge.violated(f"{self.name} stopped: {type(error).__name__}: {error}")
            self.crash()

    def _failed(self, life: Life, error: Exception) -> None:
        """As ``node.node`` does: the process ends, whatever role it plays."""
        if self.life is life:
            self._cluster.tell(f"{self.name} stops: {error}")
            self.crash()

    def crash(self) -> None:
        """The process ends, now, wherever it was."""
        if self.life is None or self._engine is None:
            return
        life, self.life, self.core = self.life, None, None
        self._cluster.crashed(life)
        life.over = True
        self._engine.crash()
        life.resume(self._cluster.loop)
        self._cluster.network.gone(life)
        if self._task is not None:
            self._task.cancel()
        self._cluster.judge.changed(self.name)

    @property
    def engine(self) -> SimEngine | None:
        return self._engine if self.up else None

    def fail_disk(self) -> None:
        if self._engine is not None:
            self._engine.fail()


async def _feed(core: NodeCore, end: StreamEnd[Any, Any]) -> None:
    """As ``node.replication`` does over gRPC."""
    hello = await end.receive()
    if hello is None:
        return
    reign = core.reign
    if reign is None:
        await end.send(feed.Refused(f"node {core.node} is not the primary", core.disk.identity.promised))
        return
    await feeder.serve(reign, end, hello, core.cluster, core.history, core.uptime)


async def _file(engine: SimEngine, end: StreamEnd[Any, Any]) -> None:
    id = await end.receive()
    if id in engine.files:
        for half in (id, id):
            await end.send(half)


async def _snapshot(seen: Counter[str], core: NodeCore, engine: SimEngine, end: StreamEnd[Any, Any]) -> None:
    cluster, resume = await end.receive() or ("", None)
    if cluster != core.cluster or not engine.complete:
        return
    seen["copies of the database"] += 1
    base, objects = engine.export_begin()
    table, after = TABLES[0], b""
    if resume is not None and engine.point(resume.base.lsn) == resume.base and resume.base.lsn <= base.lsn:
        base, table, after = resume.base, resume.table or table, resume.after
    with engine.pinned(base.lsn):
        await end.send(Begin(base, objects))
        for each in TABLES[TABLES.index(table) :]:
            after = after if each == table else b""
            while rows := engine.export(each, after, SNAPSHOT_BYTES):
                await end.send(Rows(each, tuple(rows)))
                after = rows[-1][0]
                await asyncio.sleep(0.01)
        await end.send(End(engine.applied))


class Cluster:
    def __init__(
        self, chance: Chance, plan: Plan, parts: Parts, loop: VirtualLoop, tell: Callable[[str], None]
    ) -> None:
        self.chance, self.plan, self.parts, self.loop, self.tell = chance, plan, parts, loop, tell
        self.platters: dict[str, Platter] = {}
        self.judge = Judge(self.platters, tell)
        self.network = Network(chance, plan.network)
        self.store = parts.store(self.judge.recorded)
        #: What happened that is worth counting, and no fault.
        self.seen: Counter[str] = Counter()
        self.operator = Operator(self)
        #: The store has shown, or still shows, what is no longer so.
        self.stale = False
        self._past: list[Life] = []
        self.nodes = {name: SimNode(self, name, name) for name in "abcdefg"[: plan.nodes]}

    def crashed(self, life: Life) -> None:
        self._past.append(life)

    def primary(self) -> SimNode | None:
        """The node that reigns in the epoch of the record, if it does."""
        record = self.store.record
        if record is None:
            return None
        node = self.nodes[record.primary.node]
        reign = node.core.reign if node.core is not None else None
        return node if reign is not None and reign.epoch == record.epoch and not reign.ended.done() else None

    def lost_disks(self) -> int:
        """Members of the record's set whose disk is another one now."""
        record = self.store.record
        members = record.in_sync if record is not None else frozenset()
        gone = sum(self.platters[m.node].identity.incarnation != m.incarnation for m in members)
        # One that is damaged may join the set before anybody finds out.
        return gone + sum(platter.health.damaged for platter in self.platters.values())
