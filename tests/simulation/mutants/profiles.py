"""Clusters and troubles in which rare bugs are not rare.

A run of ``simulate`` has everything in it, and each thing seldom. What needs three things at once is looked for where
these are usual: slow disks, impatient clients, a few kinds of trouble, one after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from springtide.testing.simulator import caching, clients
from springtide.testing.simulator.caching import CachingClient
from springtide.testing.simulator.clients import Client
from springtide.testing.simulator.cluster import Cluster, Parts, Plan
from springtide.testing.simulator.faults import Faults
from springtide.testing.simulator.network import Speed
from springtide.testing.simulator.platter import DiskSpeed
from springtide.testing.simulator.run import Report, come_together, stage

SLOW = DiskSpeed(sync_seconds=0.05, jitter_seconds=0.3, hang_chance=0.01, apply_seconds=0.02)


@dataclass(frozen=True, slots=True)
class Profile:
    """What a run is like. Called with a seed and parts, it runs."""

    plan: Plan = field(default_factory=Plan)
    #: Kinds of trouble, by the names that ``Faults`` gives them, and seconds between two.
    troubles: tuple[str, ...] = ("crash", "restart in place", "partition", "one-way cut")
    every_seconds: float = 0.7
    trouble_seconds: float = 20.0
    think_seconds: float = 0.03
    answer_seconds: float = 4.0
    heals: bool = True
    #: How many clients read through the real client's cache.
    caching: int = 0

    def __call__(self, seed: int, parts: Parts) -> Report:
        with _clients(self.think_seconds, self.answer_seconds):
            return stage(seed, self._play, parts, self.plan)

    async def _play(self, cluster: Cluster, report: Report) -> None:
        for node in cluster.nodes.values():
            node.start()
        made = [Client(cluster, f"client{number}") for number in range(1, 4)]
        work = [client.life.start(client.run()) for client in made]
        readers = [CachingClient(cluster, f"client{4 + number}") for number in range(self.caching)]
        work += [client.life.start(client.run()) for client in readers]
        faults = Faults(cluster, report.faults, self.troubles, self.every_seconds)
        trouble = asyncio.ensure_future(faults.run(cluster.loop.now + self.trouble_seconds))
        try:
            while not trouble.done() and not cluster.judge.violations:
                await asyncio.wait((trouble, *work), timeout=0.05, return_when=asyncio.FIRST_EXCEPTION)
                for task in (trouble, *work):
                    if task.done():
                        task.result()
            if not cluster.judge.violations and self.heals:
                faults.heal()
                cluster.tell("everything heals")
                await come_together(cluster, made, work)
            elif not cluster.judge.violations:
                cluster.judge.check_end()
        finally:
            report.commits = sum(client.commits for client in made)
            for task in (trouble, *work):
                task.cancel()
            await asyncio.gather(trouble, *work, return_exceptions=True)


@contextmanager
def _clients(think_seconds: float, answer_seconds: float) -> Iterator[None]:
    former = clients.THINK_SECONDS, clients.ANSWER_SECONDS_MAX, caching.THINK_SECONDS
    clients.THINK_SECONDS, clients.ANSWER_SECONDS_MAX, caching.THINK_SECONDS = think_seconds, answer_seconds, 0.05
    try:
        yield
    finally:
        clients.THINK_SECONDS, clients.ANSWER_SECONDS_MAX, caching.THINK_SECONDS = former


#: Commits take long, and so does everything that is told of them.
SLOW_DISKS = Profile(Plan(nodes=3, disk=SLOW))
#: Clients ask for outcomes as soon as an answer is a little late.
IMPATIENT = Profile(
    Plan(nodes=3, network=Speed(hiccup_seconds=3.0, hiccup_chance=0.05)),
    troubles=("crash", "partition", "one-way cut", "pause"),
    answer_seconds=0.4,
)
#: Primaries that do not know that they are deposed, and clients that still ask them.
DEPOSED = Profile(Plan(nodes=3), troubles=("partition", "pause", "store cut off"), answer_seconds=2.0)
#: Two nodes of which one is enough: the set changes all the time.
TWO = Profile(
    Plan(nodes=2, disk=SLOW),
    troubles=("store answers lost", "store cut off", "one-way cut", "partition", "store outage", "crash"),
)
#: Logs are so short that nodes copy snapshots all the time, and do not come to an end with it while clients commit.
COPIES = Profile(
    Plan(nodes=3, disk=DiskSpeed(log_retention=5, apply_seconds=0.05)),
    heals=False,
    troubles=("crash", "disk lost", "restart in place"),
    every_seconds=1.0,
)
#: Disks are lost as fast as the guarantee allows.
LOST_DISKS = Profile(Plan(nodes=3), troubles=("crash", "disk lost", "pause", "partition"))
#: Switchovers all the time, of processes that are restarted all the time.
HANDING_OVER = Profile(Plan(nodes=3), troubles=("hand over", "restart in place", "store cut off", "crash"))
#: Clients that cache, and replicas that are behind.
CACHED = Profile(
    Plan(nodes=3, network=Speed(hiccup_seconds=1.0, hiccup_chance=0.05)),
    troubles=("one-way cut", "crash", "pause"),
    trouble_seconds=10.0,
    caching=3,
    heals=False,
)
#: Disks that refuse to write.
FAILING_DISKS = Profile(Plan(nodes=3), troubles=("disk failure", "crash"), trouble_seconds=10.0, heals=False)
