"""Stories that chance tells too rarely: scripted faults on the same simulated cluster."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from springtide.records.ids import NodeId
from springtide.testing.simulator.clients import Client
from springtide.testing.simulator.cluster import Cluster, Parts, Plan
from springtide.testing.simulator.run import Report, stage
from springtide.testing.simulator.store import HOST
from tests.simulation.mutants.stale import BeginsWithTheFirstView, ForgetsEpochs

PATIENCE_SECONDS = 30.0


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not condition():
            await asyncio.sleep(0.01)


def reigns(cluster: Cluster, name: str) -> bool:
    primary = cluster.primary()
    return primary is not None and primary.name == name


def in_sync(cluster: Cluster) -> str:
    record = cluster.store.record
    return "".join(sorted(member.node for member in record.in_sync)) if record is not None else ""


async def _an_old_primary_meets_a_follower_of_the_new_one(cluster: Cluster, report: Report) -> None:
    nodes, network = cluster.nodes, cluster.network
    nodes["a"].start()
    await until(lambda: reigns(cluster, "a"))
    nodes["b"].start()
    nodes["c"].start()
    await until(lambda: in_sync(cluster) == "abc")
    # a neither hears of a new record nor is heard by b: it reigns on, without being able to commit.
    for other in ("b", HOST, "client1"):
        network.cut("a", other)
        network.cut(other, "a")
    nodes["c"].crash()
    await until(lambda: reigns(cluster, "b"))
    nodes["c"].start()
    await until(lambda: "b" in in_sync(cluster) and "c" in in_sync(cluster))
    client = Client(cluster, "client1")
    work = client.life.start(client.run())
    await until(lambda: client.commits >= 5)
    # c begins again, and is told of the first epoch: its primary still answers.
    nodes["c"].crash()
    nodes["c"].start()
    await asyncio.sleep(3.0)
    work.cancel()


def test_a_deposed_primary_does_not_get_a_follower_back() -> None:
    plan = Plan(nodes=3)

    report = stage(
        1, _an_old_primary_meets_a_follower_of_the_new_one, Parts(client_of_store=BeginsWithTheFirstView), plan
    )

    assert report.violations == []
    assert report.epochs >= 2


def test_without_epochs_it_would() -> None:
    parts = Parts(client_of_store=BeginsWithTheFirstView, engine=ForgetsEpochs)

    report = stage(1, _an_old_primary_meets_a_follower_of_the_new_one, parts, Plan(nodes=3))

    assert report.violations


async def _the_named_node_takes_over(cluster: Cluster, report: Report) -> None:
    for node in cluster.nodes.values():
        node.start()
    await until(lambda: in_sync(cluster) == "abc" and cluster.primary() is not None)
    client = Client(cluster, "client1")
    work = client.life.start(client.run())
    await until(lambda: client.commits >= 5)
    primary = cluster.primary()
    assert primary is not None and primary.core is not None and primary.life is not None
    target = next(name for name in sorted(cluster.nodes) if name != primary.name)
    await primary.life.start(primary.core.hand_over(NodeId(target)))
    await until(lambda: reigns(cluster, target))
    before = client.commits
    await until(lambda: client.commits >= before + 5)
    assert in_sync(cluster) == "abc", "a switchover costs nobody the set"
    work.cancel()


def test_a_switchover_goes_to_the_named_node_and_loses_nobody() -> None:
    assert stage(2, _the_named_node_takes_over, plan=Plan(nodes=3)).violations == []
