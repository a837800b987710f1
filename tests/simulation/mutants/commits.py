"""Acknowledgements that count and should not, or are asked of too few."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from springtide.coordinator import membership, topology
from springtide.coordinator.membership import Membership, Proposed, Unknown
from springtide.coordinator.topology import Record
from springtide.primary.commits import Commits
from springtide.primary.leadership import Leadership
from springtide.primary.reign import Reign
from springtide.primary.votes import Phase
from springtide.replica.follower import Follower
from springtide.replica.subscription import Subscription
from springtide.testing.simulator.disk import SimEngine
from tests.simulation.mutants.planting import PROMISES, Bench, mutant
from tests.simulation.mutants.profiles import FAILING_DISKS, IMPATIENT, LOST_DISKS, TWO
from tests.simulation.mutants.stories import (
    A_DISK_HANGS,
    A_PRIMARY_LEADS_AGAIN,
    A_SLOW_DISK_COMES_BACK,
    ASKED_TO_JOIN_AND_LEADS,
)


@mutant("9 and ack_before_sync (R3)")
def acknowledged_before_it_is_durable(bench: Bench) -> None:
    """Entries count as durable when they are appended, before they are synced."""

    async def append(self: SimEngine, entries: Any) -> None:
        self._life.start(original(self, entries))

    original = bench.replace(SimEngine, "append", append)
    bench.replace(SimEngine, "durable", property(lambda self: self.last.lsn))


@mutant("9 (R3), in the real shell that performs effects")
def the_shell_acknowledges_before_it_appends(bench: Bench) -> None:
    """The subscription performs the effects of a follower in another order: what is durable is said first."""

    def append(self: Any, entries: Any) -> None:
        self._durable(entries[-1].lsn)
        original(self, entries)

    original = bench.replace(Subscription, "_append", append)


@mutant("9 (R3), in the real shell that performs effects")
def the_shell_acknowledges_before_the_sync(bench: Bench) -> None:
    """The subscription does not wait for the end of an append."""

    async def until_durable(self: Any, synced: Any, lsn: int, size: int) -> None:
        self._durable(lsn)
        await original(self, synced, lsn, size)

    original = bench.replace(Subscription, "_until_durable", until_durable)


@mutant("9 (R3)")
def the_primary_counts_itself_before_its_sync(bench: Bench) -> None:
    """What the primary has appended counts as on its disk."""

    def append(self: Any, *rest: Any) -> Any:
        entry = original(self, *rest)
        self.acknowledged(self.me, entry.lsn)
        return entry

    original = bench.replace(Leadership, "append", append)


@mutant("design, files")
def entries_without_their_files(bench: Bench) -> None:
    """Entries go into the log before the files that they name are there."""

    def appendable(self: Any, streaming: Any) -> Any:
        for waiting in streaming.waiting:
            waiting.lacking.clear()
        return original(self, streaming)

    original = bench.replace(Follower, "_appendable", appendable)


@mutant("13 and ack_on_shrink_before_swap (R2)", budget=300)
def a_shrink_counts_before_it_is_known(bench: Bench) -> None:
    """Commits need only the smaller set as soon as a shrink was sent."""

    def required(self: Membership) -> Any:
        state = self._state
        if isinstance(state, Proposed) and state.proposed.in_sync < state.record.in_sync:
            return (state.proposed.in_sync,)
        return original(self)

    original = bench.replace(Membership, "required", property(required))


@mutant("14 and ack_on_expand_without_joint_set (R2)", run=TWO, budget=300)
def an_expansion_counts_only_when_it_is_known(bench: Bench) -> None:
    """Commits go on without whoever joins, until the answer to the swap is there."""

    def required(self: Membership) -> Any:
        state = self._state
        if isinstance(state, Proposed) and not state.proposed.in_sync <= state.record.in_sync:
            return (state.record.in_sync,)
        return original(self)

    original = bench.replace(Membership, "required", property(required))


@mutant("settle_unchanged_record_as_refused (design, settling)", run=ASKED_TO_JOIN_AND_LEADS, budget=20)
def a_lost_answer_counts_as_refused(bench: Bench) -> None:
    """A swap whose answer was lost is given up, though it may land later."""

    def answered(self: Any, outcome: Any) -> None:
        original(self, outcome)
        if isinstance(outcome, Unknown) and isinstance(self._state, Proposed):
            self._state = membership.Settled(self._state.record, self._state.revision)

    original = bench.replace(Membership, "answered", answered)


@mutant("replace_before_caught_up (R7)", run=LOST_DISKS, budget=200)
def a_returned_disk_replaces_its_former_one_at_once(bench: Bench) -> None:
    """A new incarnation takes the place of the lost one before it holds what is committed."""

    def at_once(record: Record, *, follower: Any, commit: int, epoch_start: int, change: str) -> Record:
        demand, topology._demand_caught_up = topology._demand_caught_up, lambda *rest: None
        try:
            return original(record, follower=follower, commit=commit, epoch_start=epoch_start, change=change)
        finally:
            topology._demand_caught_up = demand

    original = bench.replace(topology, "replace", at_once)


@mutant("design, expand", budget=200)
def a_follower_joins_at_once(bench: Bench) -> None:
    """Whoever follows joins, whatever it holds."""
    bench.replace(topology, "_demand_caught_up", lambda follower, commit, epoch_start: None)


@mutant("8 and shrink_below_minimum (R3)", run=LOST_DISKS, budget=300)
def the_set_shrinks_below_the_minimum(bench: Bench) -> None:
    """The last one standing goes on alone, and commits."""

    def stalled(record: Record, *rest: Any) -> Record | None:
        change = original(replace(record, minimum=1), *rest)
        return change and replace(change, minimum=record.minimum)

    def require(self: Any, sets: Any, minimum: int) -> None:
        require_(self, sets, 1)

    original = bench.replace(membership, "_stalled_member", stalled)
    require_ = bench.replace(Commits, "require", require)


@mutant("design, commits below the minimum", budget=200)
def commits_with_too_few(bench: Bench) -> None:
    """A set that was made smaller than the minimum commits all the same."""

    def require(self: Any, sets: Any, minimum: int) -> None:
        original(self, sets, 1)

    original = bench.replace(Commits, "require", require)


@mutant("25", run=IMPATIENT, budget=200)
def an_impatient_client_makes_it_committed(bench: Bench) -> None:
    """The client of a transaction that waits for acknowledgements goes away; its wait ends as if they had come."""

    def ended(self: Any, session: Any) -> None:
        waiting = [b for b in self._votes.all() if b.session is session and b.phase is Phase.FINISHING]
        if waiting and not self.ended.done():
            self.commits.commit = max(self.commits.commit, self.disk.durable)
            self._commit()
        original(self, session)

    original = bench.replace(Reign, "session_ended", ended)


@mutant("design, commit point")
def a_replica_commits_what_it_does_not_hold(bench: Bench) -> None:
    """A replica moves its commit point to the primary's, though its own disk is behind."""

    def heard(self: Any, streaming: Any, commit: int) -> Any:
        durable, streaming.durable = streaming.durable, max(streaming.durable, min(commit, streaming.appended))
        try:
            return original(self, streaming, commit)
        finally:
            streaming.durable = durable

    original = bench.replace(Follower, "_heard", heard)


@mutant("I3", budget=200, found=PROMISES)
def one_member_is_never_waited_for(bench: Bench) -> None:
    """A quorum where everybody is needed: the slowest member of the set is not waited for."""

    def settle(self: Any) -> bool:
        held = sorted(self._acked.get(member, 0) for member in self.required)
        if len(held) < max(2, self.minimum):
            return bool(original(self))
        reached = held[1]
        if reached < self.start or reached <= self.commit:
            return False
        self.commit = reached
        return True

    original = bench.replace(Commits, "settle", settle)


@mutant("15 and expand_at_commit_point_only (R7)", run=A_SLOW_DISK_COMES_BACK, budget=20)
def expansion_at_the_commit_point_only(bench: Bench) -> None:
    """Who has reached the commit point joins, though it has not reached the beginning of the epoch."""

    def demand(follower: Any, commit: int, epoch_start: int) -> None:
        original(follower, commit, 0)

    original = bench.replace(topology, "_demand_caught_up", demand)


@mutant("18 and acks_kept_across_epochs (R4)", run=A_PRIMARY_LEADS_AGAIN, budget=20)
def acknowledgements_are_kept_across_epochs(bench: Bench) -> None:
    """A process that leads again goes on counting what was acknowledged in its former reign."""

    def init(self: Any, disk: Any, *rest: Any) -> None:
        original(self, disk, *rest)
        former = vars(disk).setdefault("acknowledged", {})
        former.pop(self.me, None)
        self.commits._acked = vars(disk)["acknowledged"] = former | self.commits._acked

    original = bench.replace(Leadership, "__init__", init)


@mutant("32 (R2)", run=A_DISK_HANGS, budget=20)
def what_is_owed_does_not_count(bench: Bench) -> None:
    """A member that answers heartbeats stays in the set, though it acknowledges nothing any more."""

    def stalls(follower: Any, reign: Any) -> bool:
        return bool(original(replace(follower, owes_since=None), reign))

    original = bench.replace(membership, "_stalls", stalls)


@mutant("10 (R3)", run=FAILING_DISKS)
def a_failed_sync_is_tried_again(bench: Bench) -> None:
    """A sync that failed is called again and succeeds: what it should have written is in no memory any more."""

    def fail(self: Any) -> None:
        vars(self)["lost"] = self.last.lsn + 1

    def crash(self: Any) -> int:
        survived: int = original(self)
        platter, lost = self._platter, vars(self).get("lost", 0)
        if platter.base.lsn < lost <= platter.last.lsn:
            del platter.entries[lost - 1 - platter.base.lsn :]
            self._witness.changed(platter.identity.node)
        return survived

    bench.replace(SimEngine, "fail", fail)
    original = bench.replace(SimEngine, "crash", crash)
