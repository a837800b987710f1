"""Logs that are cut, compared or copied in a wrong way."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from springtide.node import as_replica
from springtide.records import feed
from springtide.replica.divergence import Common
from springtide.replica.effects import Leave
from springtide.replica.follower import Effect, Follower
from springtide.replica.limits import Limits
from springtide.replica.ports import Silent
from springtide.replica.subscription import Subscription, settled
from springtide.testing.simulator.disk import SimEngine
from tests.simulation.mutants.planting import NOTICED, PROMISES, Bench, mutant
from tests.simulation.mutants.profiles import COPIES


@mutant("3 and truncate_by_length (R8)")
def truncation_by_length(bench: Bench) -> None:
    """A longer log is cut to the length of the primary's, whatever stands there."""

    def welcomed(self: Any, welcome: feed.Welcome) -> tuple[Effect, ...]:
        own = self._log.point(welcome.last.lsn)
        if own is None or own == welcome.last or welcome.epoch < self._promised:
            return original(self, welcome)  # type: ignore[no-any-return]
        effects = original(self, replace(welcome, last=own))
        self.phase.received = welcome.last
        return tuple(replace(each, message=feed.Copy(welcome.last)) if _copies(each) else each for each in effects)

    original = bench.replace(Follower, "_welcomed", welcomed)


def _copies(effect: Any) -> bool:
    return isinstance(getattr(effect, "message", None), feed.Copy)


@mutant("1 and truncate_to_own_commit_point (R5, R8)")
def truncation_to_the_own_commit_point(bench: Bench) -> None:
    """What a follower does not know to be committed is cut, though the set may have committed it."""

    def welcomed(self: Any, welcome: feed.Welcome) -> tuple[Effect, ...]:
        effects = original(self, welcome)
        own = self._log.point(self._log.commit_lsn)
        if own is None or own.lsn < welcome.oldest.lsn or self.epoch != welcome.epoch:
            return effects  # type: ignore[no-any-return]
        promise = effects[:1] if welcome.epoch in (getattr(e, "epoch", 0) for e in effects[:1]) else ()
        return (*promise, *self._conclude(None, Common(own)))

    original = bench.replace(Follower, "_welcomed", welcomed)


@mutant("own history, seed 35", run=COPIES, found=f"{PROMISES}|{NOTICED}", budget=300)
def half_a_copy_is_followed_as_if_it_were_whole(bench: Bench) -> None:
    """A node that restarts in the middle of a snapshot follows the primary from where its log seems to end."""

    async def follow(
        engine: Any, peers: Any, address: str, me: Any, uptime: str, cluster: str, expected: int, **named: Any
    ) -> Leave:
        await settled(engine)
        observer = named["observer"] or Silent()
        made = Subscription(engine, me, uptime, cluster, expected, named["electable"], observer, Limits())
        return await made.run(peers, address)

    bench.replace(as_replica, "follow", follow)
    bench.replace(SimEngine, "complete", property(lambda self: self.applied >= self._platter.complete_at))


@mutant("design, snapshots", run=COPIES, budget=400)
def reads_before_the_copy_is_whole(bench: Bench) -> None:
    """A node reads, and may be in sync, when its copy has ended, before it has what was committed meanwhile."""
    bench.replace(SimEngine, "complete", property(lambda self: self._platter.importing is None))


@mutant("design, applied state", found=f"{PROMISES}|{NOTICED}")
def applied_before_it_is_committed(bench: Bench) -> None:
    """The state on the disk takes in whatever is in the log."""

    async def apply(self: Any) -> None:
        commit = self._commit
        self._commit = max(commit, self.durable)
        try:
            await original(self)
        finally:
            self._commit = max(commit, self._commit if self._commit <= commit else commit)

    original = bench.replace(SimEngine, "_apply", apply)
