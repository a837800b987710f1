"""What should this node be now: the primary, a follower, or neither?

Pure. The answer follows from one view of the store and from whether the primary
is heard. A wrong guess about the primary costs time, never data: the swap decides,
and only members that hold every commit may ask for it. Keeps rule R6: the record names
one run of one node, and no other run of it reigns in that epoch (invariant I4).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.store import View
from springtide.coordinator.topology import Record
from springtide.records.ids import Member, NodeId


class PrimarySeen(Enum):
    """What this node has lately noticed of the primary in the record."""

    HEARD = "heard"  # a heartbeat of this epoch, within the limit
    SILENT = "silent"  # nothing, and nothing to conclude from it
    GONE = "gone"  # its port refuses: the process is not there


@dataclass(frozen=True, slots=True)
class Me:
    """This run of this node. ``cluster`` is empty where the directory is."""

    member: Member
    uptime: str
    cluster: str
    promised: int
    complete: bool = True
    electable: bool = True


@dataclass(frozen=True, slots=True)
class NewIds:
    """Fresh random names, for what a decision may make."""

    cluster: str
    history: str
    change: str


# -- decisions -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Create:
    """Swap this record in, where the view shows none."""

    record: Record


@dataclass(frozen=True, slots=True)
class TakeOver:
    """Stop acknowledging the old epoch, then swap this record in at the view's revision."""

    record: Record


@dataclass(frozen=True, slots=True)
class Reign:
    """The record names this run of this node."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Follow:
    """``address`` is None where the primary is heard but not announced: stay on the feed there is."""

    node: NodeId
    address: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class Wait:
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """An operator must act.

    A feed can bring a newer epoch than a watch that lags behind it, so this is obeyed only
    when a view read afresh (``Store.read``), after the last promise, says it again.
    """

    error: errors.SpringtideError


Decision = Create | TakeOver | Reign | Follow | Wait | Stop


def decide(me: Me, view: View, seen: PrimarySeen, initial_nodes: int, new: NewIds) -> Decision:
    """What ``me`` should do now. ``seen`` is about the primary, and the run of it, that the view's record names."""
    record = view.record
    if record is None:
        return _without_record(me, initial_nodes, new)
    refused = _not_ours(me, record)
    if refused is not None:
        return Stop(refused)
    if record.primary == me.member and record.uptime == me.uptime:
        return Reign(record.epoch)
    if record.primary.node == me.member.node:
        return _after_own_restart(me, record, new)
    return _beside_another(me, record, view, seen, new)


def _without_record(me: Me, initial_nodes: int, new: NewIds) -> Decision:
    if me.cluster:
        return Stop(
            errors.NoRecord(
                f"{me.member.node} has data of cluster {me.cluster}, but the coordinator has no record of it. If the "
                "coordinator lost its data, 'springtide recover' writes the record again; if this node should begin a "
                "new cluster, give it an empty directory"
            )
        )
    if not me.electable:
        return Wait("there is no cluster yet, and an async member does not create one")
    return Create(
        topology.create(
            None,
            cluster=new.cluster,
            history=new.history,
            me=me.member,
            uptime=me.uptime,
            initial_nodes=initial_nodes,
            change=new.change,
        )
    )


def _not_ours(me: Me, record: Record) -> errors.SpringtideError | None:
    if me.cluster and me.cluster != record.cluster:
        return errors.ForeignDirectory(
            f"the directory of {me.member.node} belongs to cluster {me.cluster}, but the coordinator's record is of "
            f"cluster {record.cluster}: check the settings data and coordinator, or start with an empty directory"
        )
    if record.epoch < me.promised:
        return errors.NoRecord(
            f"the coordinator's record is of epoch {record.epoch}, but {me.member.node} has seen epoch {me.promised}: "
            "the coordinator was put back to an older state. 'springtide recover' writes a record above every epoch "
            "that the nodes have seen"
        )
    return None


def _after_own_restart(me: Me, record: Record, new: NewIds) -> Decision:
    """The record names a former run of this very node, which is therefore over."""
    if me.member not in record.in_sync:
        return Wait(f"the disk with which {record.primary} led was lost: an in-sync member must take over")
    return _stand(me, record, new)


def _beside_another(me: Me, record: Record, view: View, seen: PrimarySeen, new: NewIds) -> Decision:
    announced = view.announcements.get(record.primary.node)
    alive = announced is not None and announced.uptime == record.uptime
    follow = Follow(record.primary.node, announced.address if announced is not None else None, record.epoch)
    match seen:
        case PrimarySeen.HEARD:
            return follow
        case PrimarySeen.SILENT if alive:
            # Its lease may still be held. Trying to reach it is how it would be heard again.
            return follow
        case PrimarySeen.SILENT | PrimarySeen.GONE:
            return _stand(me, record, new)


def _stand(me: Me, record: Record, new: NewIds) -> Decision:
    if me.member not in record.in_sync:
        return Wait("not in sync: commits could be lost")
    if not me.electable:
        return Wait("an async member does not lead")
    if not me.complete:
        return Wait("the snapshot is not complete")
    return TakeOver(topology.take_over(record, me=me.member, uptime=me.uptime, change=new.change))
