"""What becomes of a transaction when its finish is delayed, asked about and sent again: told message by message.

Whoever heard *never* must never find it committed; whoever was told a tid must find that one, once. The judge of the
simulator says whether it held.
"""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace

import pytest

from springtide import errors
from springtide.primary.conflicts import Intent, Wanted
from springtide.primary.voting import Voted
from springtide.records.ids import TID_ZERO, NodeId, Oid, Tid, TransactionId
from springtide.records.ids import oid as make_oid
from springtide.testing.simulator import run, words, workload
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.cluster import Cluster, Plan
from springtide.testing.simulator.loop import Life
from springtide.testing.simulator.network import End
from springtide.testing.simulator.run import Report, stage
from springtide.testing.simulator.store import HOST
from tests.simulation.test_scripted import in_sync, reigns, until

CLIENT = "client1"


class Caller:
    """A client that does what a story says, and tells the judge what it heard."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._life = Life(CLIENT)
        self._asked = 0
        self._sessions: dict[str, End] = {}

    async def send(self, node: str, request: words.Request) -> int:
        if node not in self._sessions:
            self._sessions[node] = await self.cluster.network.dial(self._life, CLIENT, node, "office")
        self._asked += 1
        await self._sessions[node].send((self._asked, request))
        return self._asked

    async def ask(self, node: str, request: words.Request) -> words.Answer:
        asked = await self.send(node, request)
        while True:
            number, answer = await self._sessions[node].receive()
            if number == asked:
                if isinstance(answer, Exception):
                    raise answer
                return answer

    async def vote(self, node: str, id: TransactionId, attempt: int, oid: int, serial: Tid = TID_ZERO) -> int:
        """The epoch of the vote."""
        data = workload.record(serial, id)
        want = Wanted(make_oid(oid), Intent.STORE, serial, data, blob=workload.blob(make_oid(oid), id))
        voted = await self.ask(node, words.Vote(id, attempt, (want,), b""))
        assert isinstance(voted, Voted) and not voted.conflicts
        return voted.epoch

    async def finish(self, node: str, id: TransactionId, attempt: int, epoch: int) -> Tid:
        tid = await self.ask(node, words.Finish(id, attempt, epoch))
        assert isinstance(tid, bytes)
        self.cluster.judge.acknowledge(id, Tid(tid))
        return Tid(tid)

    async def never(self, node: str, id: TransactionId, attempt: int, epoch: int) -> bool:
        """Whether the answer is never."""
        return await self.ask(node, words.AskOutcome(id, attempt, epoch)) is None


def id_of(number: int, seen: Tid = TID_ZERO) -> TransactionId:
    return TransactionId(bytes([number]) * 16 + seen)


async def begun(cluster: Cluster) -> Caller:
    """Three nodes in sync, of which a leads."""
    cluster.nodes["a"].start()
    await until(lambda: reigns(cluster, "a"))
    cluster.nodes["b"].start()
    cluster.nodes["c"].start()
    await until(lambda: in_sync(cluster) == "abc")
    return Caller(cluster)


async def deposed(cluster: Cluster) -> None:
    """a reigns on in its epoch, cut off from the others, and b leads."""
    for other in ("b", "c", HOST):
        cluster.network.cut("a", other)
        cluster.network.cut(other, "a")
    await until(lambda: cluster.primary() is not None and not reigns(cluster, "a"))
    while not reigns(cluster, "b"):
        core = cluster.nodes["c"].core
        assert core is not None
        with contextlib.suppress(errors.SpringtideError):  # b has to follow first
            await core.hand_over(NodeId("b"))
        await asyncio.sleep(0.1)


def heal(cluster: Cluster) -> None:
    cluster.network.heal()


async def together(cluster: Cluster) -> None:
    await until(lambda: in_sync(cluster) == "abc" and not cluster.judge.converged("abc"))


def holds(seed: int, scenario, plan: Plan | None = None) -> None:
    report = stage(seed, scenario, plan=plan or Plan(nodes=3))

    assert report.violations == [], "\n".join(report.story[-80:])


async def _a_delayed_finish(cluster: Cluster, report: Report) -> None:
    caller = await begun(cluster)
    epoch = await caller.vote("a", id_of(1), 1, 1)
    await deposed(cluster)
    assert await caller.never("b", id_of(1), 1, epoch)
    cluster.judge.deny(id_of(1))

    # It arrives where the vote was, and is appended there: nobody commits it.
    core = cluster.nodes["a"].core
    assert core is not None
    end = core.disk.last.lsn
    await caller.send("a", words.Finish(id_of(1), 1, epoch))
    await until(lambda: core.disk.last.lsn > end)
    heal(cluster)
    await together(cluster)

    assert len(cluster.platters["a"].diverged) == 1
    assert await caller.never("b", id_of(1), 1, epoch)


def test_a_finish_that_arrives_after_never_was_said_commits_nothing() -> None:
    holds(1, _a_delayed_finish)


async def _an_old_primary_leads_again(cluster: Cluster, report: Report) -> None:
    caller = await begun(cluster)
    epoch = await caller.vote("a", id_of(1), 1, 1)
    await deposed(cluster)
    assert await caller.never("b", id_of(1), 1, epoch)
    cluster.judge.deny(id_of(1))
    heal(cluster)
    await together(cluster)
    core = cluster.nodes["b"].core
    assert core is not None
    await core.hand_over(NodeId("a"))
    await until(lambda: reigns(cluster, "a"))

    # Where the vote once was, the finish finds another reign.
    with pytest.raises(errors.BadRequest):
        await caller.finish("a", id_of(1), 1, epoch)
    # An early vote that is late takes place, for all that anybody knows; nobody has its answer, so nobody finishes it.
    await caller.vote("a", id_of(1), 1, 1)
    assert await caller.never("a", id_of(1), 1, epoch)
    with pytest.raises(errors.BadRequest):
        await caller.vote("a", id_of(1), 1, 1)


def test_where_an_old_primary_leads_again_a_finish_of_its_former_reign_is_refused() -> None:
    holds(2, _an_old_primary_leads_again)


async def _two_attempts_of_one_id(cluster: Cluster, report: Report) -> None:
    caller = await begun(cluster)
    first = await caller.vote("a", id_of(1), 1, 1)
    core = cluster.nodes["a"].core
    assert core is not None
    for other in ("b", "c", HOST):
        cluster.network.cut("a", other)
        cluster.network.cut(other, "a")
    end = core.disk.last.lsn
    await caller.send("a", words.Finish(id_of(1), 1, first))
    await until(lambda: core.disk.last.lsn > end)  # in one log only
    await deposed(cluster)
    assert await caller.never("b", id_of(1), 1, first)
    second = await caller.vote("b", id_of(1), 2, 1)
    tid = await caller.finish("b", id_of(1), 2, second)

    heal(cluster)
    await together(cluster)

    for epoch in (first, second):
        assert await caller.ask("b", words.AskOutcome(id_of(1), 2, epoch)) == tid
    for node in "abc":
        revisions = cluster.platters[node].state.revisions[Oid(make_oid(1))]
        assert list(revisions) == [tid]


def test_of_two_attempts_of_one_id_one_is_committed() -> None:
    holds(3, _two_attempts_of_one_id)


async def _ids_are_forgotten(cluster: Cluster, report: Report) -> None:
    caller = await begun(cluster)
    epoch = await caller.vote("a", id_of(1), 1, 1)
    tid = await caller.finish("a", id_of(1), 1, epoch)
    assert await caller.ask("a", words.AskOutcome(id_of(1), 1, epoch)) == tid
    waiting = await caller.vote("a", id_of(2), 1, 2)  # voted before, finished after

    await asyncio.sleep(20.0)
    last = await caller.finish("a", id_of(2), 1, waiting)
    await until(lambda: all(cluster.platters[node].state.forgotten > tid for node in "abc"))

    # Those who ask hear that nobody knows, here and where another leads; nothing as old as that may be tried again.
    for leader in ("a", "b"):
        await until(lambda: reigns(cluster, leader))  # noqa: B023
        with pytest.raises(errors.OutcomeUnknown):
            await caller.never(leader, id_of(1), 1, epoch)
        with pytest.raises(errors.VoteTimedOut):
            await caller.vote(leader, id_of(3), 1, 3)
        with pytest.raises(errors.OutcomeUnknown):
            await caller.never(leader, id_of(5), 1, epoch)  # never heard of, for all that is known
        assert await caller.ask(leader, words.AskOutcome(id_of(2), 1, epoch)) == last
        assert await caller.never(leader, id_of(4, last), 1, epoch)
        if leader == "a":
            core = cluster.nodes["a"].core
            assert core is not None
            await core.hand_over(NodeId("b"))


def test_of_an_id_that_was_forgotten_nobody_says_that_it_was_never_committed() -> None:
    holds(4, _ids_are_forgotten, Plan(nodes=3, outcomes_kept_seconds=10.0))


@pytest.mark.parametrize("seed", [7001, 7003, 7009, 7016])
def test_everything_holds_under_faults_while_ids_are_forgotten_within_seconds(seed: int) -> None:
    async def play(cluster: Cluster, report: Report) -> None:
        await run._play(cluster, report, run.TROUBLE_SECONDS)

    report = stage(seed, play, plan=replace(run.plan_of(Chance(seed)), outcomes_kept_seconds=3.0))

    assert report.violations == [], "\n".join(report.story[-80:])
    assert report.commits
