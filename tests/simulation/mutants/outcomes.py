"""Answers about what became of a transaction, and transactions that happen twice."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from springtide.primary import tids
from springtide.primary.commits import Commits
from springtide.primary.locks import Locks
from springtide.primary.reign import Reign
from springtide.primary.votes import Phase, Votes
from springtide.primary.voting import Voting
from springtide.records.entries import Kind, decode_transaction
from tests.simulation.mutants.planting import NOTICED, PROMISES, Bench, mutant
from tests.simulation.mutants.profiles import IMPATIENT, SLOW_DISKS
from tests.simulation.mutants.stories import A_FINISH_IS_LATE, A_FINISH_MEETS_A_LATER_REIGN, DEPOSED_IS_ASKED

#: Whether what runs now takes the epoch's start for committed.
_EARLY: ContextVar[bool] = ContextVar("early", default=False)


def as_if_established(bench: Bench, owner: Any, name: str) -> None:
    """While this method runs, the start of the epoch counts as committed."""

    async def early(self: Any, *rest: Any) -> Any:
        token = _EARLY.set(True)
        try:
            return await original(self, *rest)
        finally:
            _EARLY.reset(token)

    original = bench.replace(owner, name, early)
    established = bench.replace(Commits, "established", property(lambda self: _EARLY.get() or established(self)))


@mutant("unknown_before_epoch_start (R5, R10)", run=SLOW_DISKS, budget=300)
def never_is_said_before_the_epoch_start_is_committed(bench: Bench) -> None:
    """A new primary says of what is in its log, and not committed yet, that it never will be."""
    as_if_established(bench, Reign, "outcome")


@mutant("design, a new primary", run=SLOW_DISKS, budget=300)
def votes_before_the_epoch_start_is_committed(bench: Bench) -> None:
    """A new primary checks serials against what it knows to be committed, which is not all that is."""
    as_if_established(bench, Reign, "until_open")


@mutant("committed_before_commit_point (R10)", budget=300)
def committed_is_said_before_the_commit_point(bench: Bench) -> None:
    """What is in the log counts as committed when it is asked for."""

    async def outcome(self: Any, id: Any, attempt: int, epoch: int) -> Any:
        for entry in await self.disk.read(max(self.commits.commit, self.disk.oldest.lsn), 2**30):
            if entry.kind is Kind.TRANSACTION and (found := decode_transaction(entry.body)).id == id:
                return found.tid
        return await original(self, id, attempt, epoch)

    original = bench.replace(Reign, "outcome", outcome)


@mutant("7 and fail_waiting_commit (R5, R10)", run=IMPATIENT, budget=300)
def a_commit_that_waits_is_said_to_have_failed(bench: Bench) -> None:
    """What is in the log and waits for acknowledgements is said never to be committed."""
    bench.replace(Votes, "finishing", lambda self, id: False)


@mutant("design, votes")
def locks_end_with_the_finish(bench: Bench) -> None:
    """Objects are free for others when a transaction is in the log, before it is committed."""

    def finish(self: Any, ballot: Any) -> None:
        original(self, ballot)
        self._locks.release(ballot)

    original = bench.replace(Reign, "_finish", finish)


@mutant("design, votes")
def nothing_is_locked(bench: Bench) -> None:
    """Serials are checked, and nobody keeps them as they are until the commit."""

    def take(self: Any, owner: Any, wants: Any) -> bool:
        return bool(original(self, owner, {}))

    original = bench.replace(Locks, "take", take)


@mutant("design, votes")
def read_checks_are_ignored(bench: Bench) -> None:
    """What a transaction only read may change under it."""

    async def conflicts(self: Any, ballot: Any) -> Any:
        return [each for each in await original(self, ballot) if each.intent.value != "check"]

    original = bench.replace(Voting, "_conflicts", conflicts)


@mutant("R11", found=f"{PROMISES}|{NOTICED}")
def tids_follow_the_clock(bench: Bench) -> None:
    """A primary whose clock is behind its predecessor's gives out tids that are too low."""
    bench.replace(tids, "following", lambda last, wall_seconds: tids.tid_of(wall_seconds))


@mutant("unknown_without_fence (R10)", run=A_FINISH_IS_LATE, budget=20)
def never_is_said_without_refusing_what_may_still_come(bench: Bench) -> None:
    """A finish that is on its way still, when its client is told never, is taken."""
    bench.replace(Votes, "fence", lambda self, id, attempt: None)


@mutant("ask_a_primary_of_an_older_epoch (design, outcomes)", run=DEPOSED_IS_ASKED, budget=20)
def a_deposed_primary_answers_for_a_later_epoch(bench: Bench) -> None:
    """A primary of an older epoch than that of the finish says what became of it."""

    async def outcome(self: Any, id: Any, attempt: int, epoch: int) -> Any:
        return await original(self, id, attempt, min(epoch, self.epoch))

    original = bench.replace(Reign, "outcome", outcome)


@mutant("finish_of_older_epoch (design, outcomes)", run=A_FINISH_MEETS_A_LATER_REIGN, budget=20)
def a_vote_outlives_its_epoch(bench: Bench) -> None:
    """A process that leads again finishes what was voted in its former reign."""

    def init(self: Any, disk: Any, *rest: Any) -> None:
        original(self, disk, *rest)
        former = vars(disk).get("voting")
        if former is not None:
            self._votes, self._locks = former
            for ballot in self._votes.all():
                if ballot.phase is Phase.FINISHING:
                    self._votes.drop(ballot)
                    self._locks.release(ballot)
        vars(disk)["voting"] = self._votes, self._locks

    def finish(self: Any, id: Any, attempt: int, epoch: int, given_up: Any) -> None:
        finish_(self, id, attempt, self.epoch, given_up)

    original = bench.replace(Reign, "__init__", init)
    finish_ = bench.replace(Reign, "finish", finish)


@mutant("23 (R11)")
def oids_are_given_out_from_memory(bench: Bench) -> None:
    """A range of oids is no entry of the log: the next primary gives it out again."""

    async def oids(self: Any, count: int) -> Any:
        return self._oids.take(count)

    bench.replace(Reign, "oids", oids)
