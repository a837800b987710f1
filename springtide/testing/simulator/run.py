"""One seed, one run: a cluster, clients, faults; then everything heals and must come together."""

from __future__ import annotations

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from springtide.replica.subscription import Subscription
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.clients import Client
from springtide.testing.simulator.cluster import Cluster, Parts, Plan
from springtide.testing.simulator.faults import Faults
from springtide.testing.simulator.loop import VirtualLoop
from springtide.testing.simulator.network import Speed
from springtide.testing.simulator.platter import DiskSpeed

#: Virtual seconds of faults, and how long a healed cluster may take to come together:
#: a lease, a stalled member's removal, a snapshot, several times over.
TROUBLE_SECONDS = 20.0
CONVERGE_SECONDS = 40.0
STORY_LINES_MAX = 20_000

Tell = Callable[[str], None]


@dataclass(slots=True)
class Report:
    seed: int
    nodes: int = 0
    violations: list[str] = field(default_factory=list)
    story: list[str] = field(default_factory=list)
    commits: int = 0
    epochs: int = 0
    takeovers: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    #: What else happened, and how often.
    seen: Counter[str] = field(default_factory=Counter)
    virtual_seconds: float = 0.0

    @property
    def failed(self) -> bool:
        return bool(self.violations)

    def summary(self) -> str:
        faults = ", ".join(f"{count} {name}" for name, count in sorted(self.faults.items()))
        return (
            f"seed {self.seed}: {self.nodes} nodes, {self.virtual_seconds:.0f} s, {self.commits} commits, "
            f"{self.epochs} epochs, {self.takeovers} takeovers; {faults or 'no faults'}"
        )


def simulate(seed: int, parts: Parts | None = None, trouble_seconds: float = TROUBLE_SECONDS) -> Report:
    """Run one seed on a virtual clock of its own."""

    async def play(cluster: Cluster, report: Report) -> None:
        await _play(cluster, report, trouble_seconds)

    return stage(seed, play, parts, None)


Scenario = Callable[[Cluster, Report], Awaitable[None]]


def stage(seed: int, scenario: Scenario, parts: Parts | None = None, plan: Plan | None = None) -> Report:
    """Play ``scenario`` with a cluster whose nodes have not been started; ``plan`` is the seed's if None."""
    parts, chance = parts or Parts(), Chance(seed)
    report = Report(seed)
    loop = VirtualLoop()

    def tell(line: str) -> None:
        if len(report.story) < STORY_LINES_MAX:
            report.story.append(f"{loop.now:9.4f}  {line}")

    async def play() -> None:
        cluster = Cluster(chance, plan or plan_of(chance), parts, loop, tell)
        try:
            await scenario(cluster, report)
        finally:
            for node in cluster.nodes.values():
                node.crash()
            await asyncio.sleep(5.0)  # what was on its way arrives nowhere
        report.nodes = cluster.plan.nodes
        report.violations += cluster.judge.violations
        report.epochs = cluster.store.record.epoch if cluster.store.record is not None else 0
        report.takeovers = cluster.store.takeovers
        report.seen = cluster.seen
        report.virtual_seconds = loop.now

    with _collecting_later(), _listening(tell), _deciding(parts), asyncio.Runner(loop_factory=lambda: loop) as runner:
        runner.run(play())
    report.violations += [f"nobody caught: {error}" for error in loop.uncaught]
    return report


@contextmanager
def _collecting_later() -> Iterator[None]:
    """When garbage is collected depends on all that this process did before, and what is collected closes streams."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        gc.collect()


@contextmanager
def _listening(tell: Tell) -> Iterator[None]:
    """What the nodes log is part of the story."""
    listener = _Listener(tell)
    logger = logging.getLogger("springtide")
    level, propagate = logger.level, logger.propagate
    logger.addHandler(listener)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.removeHandler(listener)
        logger.setLevel(level)
        logger.propagate = propagate


@contextmanager
def _deciding(parts: Parts) -> Iterator[None]:
    machine, Subscription.machine = Subscription.machine, parts.follower
    try:
        yield
    finally:
        Subscription.machine = machine


def plan_of(chance: Chance) -> Plan:
    """What this seed's cluster is like. Each seed leaves some troubles out, so that others show."""
    rnd = chance.of("plan")
    return Plan(
        nodes=rnd.choice((1, 2, 3, 3, 3, 3, 3, 5)),
        disk=DiskSpeed(
            hang_chance=rnd.choice((0.0, 0.002, 0.02)),
            apply_seconds=rnd.choice((0.001, 0.02, 0.3)),
            log_retention=rnd.choice((1_000_000, 40, 12, 5)),
        ),
        network=Speed(
            jitter_seconds=rnd.choice((0.002, 0.02)),
            hiccup_chance=rnd.choice((0.0, 0.01, 0.05)),
        ),
        clock_error_seconds=rnd.choice((0.0, 0.0, 100.0)),
    )


async def _play(cluster: Cluster, report: Report, trouble_seconds: float) -> None:
    loop = cluster.loop
    for node in cluster.nodes.values():
        node.start()
    clients = [Client(cluster, f"client{number}") for number in range(1, 4)]
    work = [client.life.start(client.run()) for client in clients]
    faults = Faults(cluster, report.faults)
    trouble = asyncio.ensure_future(faults.run(loop.now + trouble_seconds))
    try:
        while not trouble.done() and not cluster.judge.violations:
            await asyncio.wait((trouble, *work), timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)
            _raise_of(trouble, *work)
        if not cluster.judge.violations:
            faults.heal()
            cluster.tell("everything heals")
            await come_together(cluster, clients, work)
    finally:
        report.commits = sum(client.commits for client in clients)
        for task in (trouble, *work):
            task.cancel()
        await asyncio.gather(trouble, *work, return_exceptions=True)


def _raise_of(*tasks: asyncio.Future[None]) -> None:
    for task in tasks:
        if task.done() and not task.cancelled():
            task.result()


async def come_together(cluster: Cluster, clients: list[Client], work: list[asyncio.Task[None]]) -> None:
    """After the last fault: commits flow again, everybody is in sync, and all nodes are equal."""
    loop = cluster.loop
    deadline = loop.now + CONVERGE_SECONDS
    before = sum(client.commits for client in clients)
    flowing = False
    wrong = ["nothing was looked at"]
    while loop.now < deadline and not cluster.judge.violations:
        await asyncio.sleep(0.25)
        _raise_of(*work)
        flowing = flowing or sum(client.commits for client in clients) > before
        if flowing and not all(client.stopping for client in clients) and _all_in_sync(cluster):
            for client in clients:
                client.stopping = True
        wrong = cluster.judge.converged(sorted(cluster.nodes))
        if all(task.done() for task in work) and not wrong and _all_in_sync(cluster):
            cluster.judge.check_end()
            return
    if cluster.judge.violations:
        return
    told = [] if flowing else ["no commit was acknowledged"]
    told += [] if _all_in_sync(cluster) else [f"the record is {cluster.store.record}"]
    told += [f"{client.name} still waits" for client, task in zip(clients, work, strict=True) if not task.done()]
    cluster.judge.violated(f"{CONVERGE_SECONDS:.0f} s after everything healed: " + "; ".join([*told, *wrong]))


def _all_in_sync(cluster: Cluster) -> bool:
    record = cluster.store.record
    return record is not None and len(record.in_sync) == len(cluster.nodes) and cluster.primary() is not None


class _Listener(logging.Handler):
    def __init__(self, tell: Tell) -> None:
        super().__init__(logging.INFO)
        self._tell = tell

    def emit(self, record: logging.LogRecord) -> None:
        self._tell(record.getMessage())
