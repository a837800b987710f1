"""Whose acknowledgement does a commit need, while the in-sync set changes?

Pure. The primary's view of the record, from the start of its reign to its end.
A change of the set is sent to the store and its answer may be late or lost; until
a record with a later revision is seen, the primary cannot know which set others
elect from. So it requires both: rule R2, and with it invariant I3.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.store import Refused, Swapped, View, supersedes
from springtide.coordinator.topology import Progress, Record, Refusal
from springtide.records.ids import Member, NodeId


@dataclass(frozen=True, slots=True)
class Unknown:
    """The store did not answer: the swap may have landed, and may still land."""


@dataclass(frozen=True, slots=True)
class Settled:
    """The record is known."""

    record: Record
    revision: int


@dataclass(frozen=True, slots=True)
class Proposed:
    """A swap was sent. ``unanswered`` once its answer was lost, so that it has to be written again."""

    record: Record
    revision: int
    proposed: Record
    unanswered: bool = False


@dataclass(frozen=True, slots=True)
class Deposed:
    """Another epoch, or another run of this node, is in the record. Final."""

    record: Record
    revision: int
    by: Record


class Membership:
    """The record of one reign, as its primary may rely on it.

    Invariant: ``required`` holds every set from which the store may elect now, as long as
    this reign lasts: the last set seen, and while a swap is unsettled, the proposed one.
    """

    def __init__(self, record: Record, revision: int) -> None:
        """``record`` is the one that began this reign, or a later one of it."""
        self._state: Settled | Proposed | Deposed = Settled(record, revision)

    # -- what holds now --------------------------------------------------------------------------

    @property
    def record(self) -> Record:
        """The last record seen of this reign."""
        return self._state.record

    @property
    def revision(self) -> int:
        """Its revision: what the next swap expects."""
        return self._state.revision

    @property
    def required(self) -> tuple[frozenset[Member], ...]:
        """The sets of which every member must hold an entry before it is committed."""
        if isinstance(self._state, Proposed) and self._state.proposed.in_sync != self.record.in_sync:
            return (self.record.in_sync, self._state.proposed.in_sync)
        return (self.record.in_sync,)

    @property
    def members(self) -> frozenset[Member]:
        """Everyone in ``required``."""
        return frozenset().union(*self.required)

    @property
    def minimum(self) -> int:
        """The larger one, while a change of it is unsettled."""
        if isinstance(self._state, Proposed):
            return max(self.record.minimum, self._state.proposed.minimum)
        return self.record.minimum

    @property
    def enough(self) -> bool:
        """Whether anything may commit: this reign lasts, and no set is below the minimum."""
        return self.deposed_by is None and all(len(members) >= self.minimum for members in self.required)

    @property
    def deposed_by(self) -> Record | None:
        return self._state.by if isinstance(self._state, Deposed) else None

    @property
    def settled(self) -> bool:
        """Whether a new change may be proposed."""
        return isinstance(self._state, Settled)

    @property
    def unanswered(self) -> Record | None:
        """The proposed record whose swap has to be written again, if there is one."""
        return self._state.proposed if isinstance(self._state, Proposed) and self._state.unanswered else None

    @property
    def handing_over(self) -> bool:
        """Whether the swap that is unsettled ends this reign: nothing new may be appended."""
        return isinstance(self._state, Proposed) and self._state.proposed.epoch != self.record.epoch

    def committed(self, durable: Mapping[Member, int]) -> int:
        """The lsn up to which everyone required holds the log, by what each acknowledged in this epoch.

        0 where somebody acknowledged nothing, or where too few are required for anything to commit.
        """
        return min((durable.get(member, 0) for member in self.members), default=0) if self.enough else 0

    # -- what happens ----------------------------------------------------------------------------

    def propose(self, record: Record) -> None:
        """A swap to ``record`` is about to be sent. Whoever it adds is required from now on."""
        if not isinstance(self._state, Settled):
            raise errors.Broken("R2", "a change of the set is proposed while another one is not settled")
        if record.cluster != self.record.cluster or record.change == self.record.change:
            raise errors.Broken("R1", f"a change of the set has no name of its own: {record.change}")
        self._state = Proposed(self.record, self.revision, record)

    def again(self, change: str) -> Record:
        """What to swap in at ``revision``, after an answer was lost: the same record under a fresh change id."""
        if not (isinstance(self._state, Proposed) and self._state.unanswered):
            raise errors.Broken("R2", "a swap is written again whose answer was not lost")
        proposed = replace(self._state.proposed, change=change)
        self._state = Proposed(self.record, self.revision, proposed)
        return proposed

    def answered(self, outcome: Swapped | Refused | Unknown) -> None:
        """What became of the swap. An answer settles it only by a record that has moved."""
        match outcome:
            case Swapped(view) | Refused(view):
                self.saw(view)
                self._mark_unanswered()
            case Unknown():
                self._mark_unanswered()

    def saw(self, view: View) -> None:
        """A view of the store, at any time. One that is not newer than what is known says nothing."""
        if isinstance(self._state, Deposed) or view.record is None:
            return
        if not supersedes(view, self.record, self.revision):
            return
        known = self.record
        if (view.record.epoch, view.record.uptime, view.record.cluster) == (known.epoch, known.uptime, known.cluster):
            self._state = Settled(view.record, view.revision)
        else:
            self._state = Deposed(known, self.revision, view.record)

    def _mark_unanswered(self) -> None:
        if isinstance(self._state, Proposed):
            self._state = replace(self._state, unanswered=True)


# -- which change to propose -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reign:
    """What a choice depends on, of the reign it is made in. ``began`` and ``now`` are of one clock."""

    commit: int
    epoch_start: int
    began: float
    now: float
    stall_seconds_max: float
    #: Members that are not announced: they stopped in an orderly way, or long ago.
    gone: frozenset[Member] = frozenset()


def choose_change(record: Record, followers: Iterable[Progress], reign: Reign, change: str) -> Record | None:
    """The change of the set that helps most now; None if none does, or none is allowed.

    A returned disk first: it unblocks commits and loses no member. Then whoever stalls
    them leaves, if enough remain that do not. Then whoever has caught up joins.
    """
    by_node = {follower.member.node: follower for follower in sorted(followers, key=lambda f: f.member)}
    return (
        _returned_disk(record, by_node, reign, change)
        or _stalled_member(record, by_node, reign, change)
        or _caught_up_follower(record, by_node, reign, change)
    )


def _returned_disk(record: Record, by_node: dict[NodeId, Progress], reign: Reign, change: str) -> Record | None:
    for node, follower in by_node.items():
        present = record.member_of(node)
        if present is not None and present != follower.member and not _stalls(follower, reign):
            replaced = _if_allowed(topology.replace, record, follower, reign, change)
            if replaced is not None:
                return replaced
    return None


def _stalled_member(record: Record, by_node: dict[NodeId, Progress], reign: Reign, change: str) -> Record | None:
    """One of those that stall commits, if commits go on without all of them.

    Where too few remain, leaving helps nobody: fewer could lead, and commits would wait as before.
    """
    stalled = [
        member
        for member in sorted(record.in_sync - {record.primary})
        if _member_stalls(member, by_node.get(member.node), reign)
    ]
    if not stalled or len(record.in_sync) - len(stalled) < record.minimum:
        return None
    return topology.shrink(record, member=stalled[0], change=change)


def _caught_up_follower(record: Record, by_node: dict[NodeId, Progress], reign: Reign, change: str) -> Record | None:
    for node, follower in by_node.items():
        if record.member_of(node) is None and not _stalls(follower, reign):
            expanded = _if_allowed(topology.expand, record, follower, reign, change)
            if expanded is not None:
                return expanded
    return None


def _member_stalls(member: Member, follower: Progress | None, reign: Reign) -> bool:
    if follower is None or follower.member != member:
        return member in reign.gone or reign.now - reign.began > reign.stall_seconds_max
    return _stalls(follower, reign)


def _stalls(follower: Progress, reign: Reign) -> bool:
    """Silent for too long since it was heard or the reign began, or in debt of an acknowledgement for too long."""
    heard = max(follower.heard, reign.began) if follower.heard > float("-inf") else follower.heard
    owes = follower.owes_since if follower.owes_since is not None else reign.now
    return reign.now - min(heard, owes) > reign.stall_seconds_max


class _CatchUpTransition(Protocol):
    def __call__(self, record: Record, *, follower: Progress, commit: int, epoch_start: int, change: str) -> Record: ...


def _if_allowed(
    transition: _CatchUpTransition, record: Record, follower: Progress, reign: Reign, change: str
) -> Record | None:
    try:
        return transition(record, follower=follower, commit=reign.commit, epoch_start=reign.epoch_start, change=change)
    except Refusal:
        return None
