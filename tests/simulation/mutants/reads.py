"""Reads that show too much, too little, or the past."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from springtide.node.core import NodeCore
from springtide.primary.commits import Commits
from springtide.primary.leadership import Leadership
from tests.simulation.mutants.outcomes import as_if_established
from tests.simulation.mutants.planting import Bench, mutant
from tests.simulation.mutants.stale import BeginsWithTheFirstView
from tests.simulation.mutants.stories import (
    A_NEW_DISK_CONFIRMS,
    A_NEW_PRIMARY_IS_ASKED_AT_ONCE,
    ASKED_TO_JOIN_AND_LEADS,
    DEPOSED_IS_ASKED,
    PAUSED_IS_ASKED,
)

_CONFIRMING: ContextVar[Any] = ContextVar("confirming", default=None)


def while_confirming(bench: Bench, required: Any) -> None:
    """While a reign is confirmed, its round is over whom ``required`` says, of the leadership and its set."""

    async def confirm(self: Any) -> Any:
        token = _CONFIRMING.set(self)
        try:
            return await original(self)
        finally:
            _CONFIRMING.reset(token)

    def asked(self: Any) -> Any:
        leadership = _CONFIRMING.get()
        return required_(self) if leadership is None else required(leadership, required_(self))

    original = bench.replace(Leadership, "confirm", confirm)
    required_ = bench.replace(Commits, "required", property(asked))


@mutant("27 (R9)", found="^session|saw")
def a_node_answers_below_the_floor(bench: Bench) -> None:
    """A replica that is behind a client answers it all the same."""

    async def until_tid(self: NodeCore, floor: Any, seconds: float) -> None:
        pass

    bench.replace(NodeCore, "until_tid", until_tid)


@mutant("5 (R9)", run=DEPOSED_IS_ASKED, budget=20)
def a_primary_answers_strict_reads_alone(bench: Bench) -> None:
    """Who believes that it leads does not ask whether it does."""
    while_confirming(bench, lambda leadership, required: frozenset({leadership.me}))


@mutant("strict_over_current_set_only (design, strict reads)", run=ASKED_TO_JOIN_AND_LEADS, budget=20)
def strict_reads_over_the_current_set_only(bench: Bench) -> None:
    """The round leaves out who was asked to join, and may have taken over already."""
    while_confirming(bench, lambda leadership, required: leadership.commits._sets[0])


@mutant("strict_before_epoch_start (design, strict reads)", run=A_NEW_PRIMARY_IS_ASKED_AT_ONCE, budget=20)
def strict_reads_before_the_epoch_start(bench: Bench) -> None:
    """A new primary answers with a commit point that is older than its predecessor's."""
    as_if_established(bench, Leadership, "confirm")


@mutant("strict_ignores_incarnation (design, strict reads)", run=A_NEW_DISK_CONFIRMS, budget=20)
def strict_reads_of_any_incarnation(bench: Bench) -> None:
    """A disk that was made anew answers for the one that was lost, and for what that one had promised."""

    def by_node(leadership: Any, required: Any) -> Any:
        present = {member.node: member for member in leadership.followers}
        return frozenset(present.get(member.node, member) for member in required)

    bench.part(client_of_store=BeginsWithTheFirstView)
    while_confirming(bench, by_node)


@mutant("design, strict reads", run=DEPOSED_IS_ASKED, budget=20)
def a_strict_read_takes_the_last_round(bench: Bench) -> None:
    """The round that confirms a reign was begun before the request."""

    async def confirm(self: Any) -> Any:
        await self.until(lambda: self.commits.established)
        tid = self.disk.commit_tid
        others = self.commits.required - {self.me}
        await self.until(lambda: all(m in self.followers and self.followers[m].confirmed for m in others))
        return tid

    bench.replace(Leadership, "confirm", confirm)


@mutant("6 (R9)", run=PAUSED_IS_ASKED, budget=20)
def a_lease_that_does_not_count_a_pause(bench: Bench) -> None:
    """Strict reads rest on when the others were heard, by a time that is noted now and then: a pause goes unseen."""

    def obstacle(self: Any, now: float) -> Any:
        vars(self)["noted"] = now
        return obstacle_(self, now)

    async def confirm(self: Any) -> Any:
        await self.until(lambda: self.commits.established)
        others = self.commits.required - {self.me}
        await self.until(lambda: all(self.live(member, vars(self).get("noted", 0.0)) for member in others))
        return self.disk.commit_tid

    obstacle_ = bench.replace(Leadership, "obstacle", obstacle)
    bench.replace(Leadership, "confirm", confirm)
