"""Which node leads, who is in sync, and which changes of that are allowed?

Pure. The coordinator's record is one value under one key. Every change of it is
one of the transitions below, written by compare-and-swap on the record's
revision. A transition gives the next record, or raises ``Refusal`` with the
reason. Keeps rules R1 (one key, one swap at a time), R5 (only members of the set lead, in
a new epoch) and R7 (who joins has caught up, in this epoch and with this incarnation).
Why the rules are what they are: ARCHITECTURE, "Who leads".
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from dataclasses import replace as changed

from springtide import errors
from springtide.records.ids import Member, NodeId

#: The number of the layout of an encoded record. A node refuses one it does not know.
RECORD_FORMAT = 1


class Refusal(Exception):
    """The rules do not allow this change of the record now. The message says why."""


@dataclass(frozen=True, slots=True)
class Record:
    """Who leads, and who is in sync.

    Invariants: the primary is in the set; a node is in the set with one incarnation
    at most. The set may be smaller than ``minimum`` only where it was made so, at
    the creation of a cluster or by force: then nothing commits until it has grown.
    """

    cluster: str
    history: str
    epoch: int
    primary: Member
    #: The run of the primary's process that reigns. No other run of it does.
    uptime: str
    in_sync: frozenset[Member]
    minimum: int
    #: A random name for the change that made this record: tells whether a swap whose
    #: answer was lost has landed.
    change: str

    def __post_init__(self) -> None:
        if self.primary not in self.in_sync:
            raise errors.Broken("R3", f"the record would name {self.primary} as primary without it being in sync")
        if len({member.node for member in self.in_sync}) != len(self.in_sync):
            raise errors.Broken("R7", f"the record would hold two incarnations of one node: {sorted(self.in_sync)}")
        if self.epoch < 1 or self.minimum < 1:
            raise errors.Broken("R1", f"the record would have epoch {self.epoch} and minimum {self.minimum}")

    def member_of(self, node: NodeId) -> Member | None:
        """The incarnation with which ``node`` is in sync; None if it is not."""
        return next((member for member in self.in_sync if member.node == node), None)


@dataclass(frozen=True, slots=True)
class Progress:
    """What the primary knows of one follower, in this epoch.

    ``acked`` is the lsn up to which it acknowledged in this epoch, None before the first
    acknowledgement. ``owes_since`` is when the oldest entry it has not acknowledged was
    sent to it, None if there is none. ``heard`` is when it last said anything.
    """

    member: Member
    acked: int | None
    heard: float
    electable: bool = True
    #: False while it takes a snapshot.
    complete: bool = True
    owes_since: float | None = None


def minimum_for(initial_nodes: int) -> int:
    """How many members a new cluster of so many nodes wants every commit to be on."""
    return initial_nodes // 2 + 1 if initial_nodes >= 3 else 1


# -- by a node that would lead ---------------------------------------------------------------


def create(
    existing: Record | None, *, cluster: str, history: str, me: Member, uptime: str, initial_nodes: int, change: str
) -> Record:
    """By a node with an empty directory; only where no record exists.

    The minimum is derived once, here, from ``initial_nodes``.
    """
    if existing is not None:
        raise Refusal(f"cluster {existing.cluster} exists already")
    return Record(cluster, history, 1, me, uptime, frozenset({me}), minimum_for(initial_nodes), change)


def take_over(record: Record, *, me: Member, uptime: str, change: str) -> Record:
    """By an in-sync member, which stops acknowledging the old epoch before it asks.

    Epoch + 1. The old primary leaves the set if ``minimum`` members remain without it.
    A restarted primary takes over from its own former run, and stays.
    """
    if me not in record.in_sync:
        raise Refusal(f"{me} is not in sync: commits could be lost")
    if record.uptime == uptime:
        raise Refusal(f"this run of {me} reigns already, in epoch {record.epoch}")
    remaining = record.in_sync if record.primary == me else record.in_sync - {record.primary}
    in_sync = remaining if len(remaining) >= record.minimum else record.in_sync
    return changed(record, epoch=record.epoch + 1, primary=me, uptime=uptime, in_sync=in_sync, change=change)


def force(record: Record, *, me: Member, uptime: str, epoch: int, history: str, change: str) -> Record:
    """By an operator, at a chosen node whose data becomes the cluster's, whatever others hold.

    Names the epoch it overrides. The history is a new one, so that clients drop what they
    cached above the fork. Only the chosen node is in sync; the minimum stays.
    """
    if epoch != record.epoch:
        raise Refusal(f"epoch {epoch} was to be overridden, but epoch {record.epoch} reigns")
    if history == record.history:
        raise Refusal("a forced takeover begins a new history")
    return changed(
        record,
        history=history,
        epoch=record.epoch + 1,
        primary=me,
        uptime=uptime,
        in_sync=frozenset({me}),
        change=change,
    )


def recover(
    *, cluster: str, history: str, me: Member, uptime: str, epochs_seen: int, minimum: int, change: str
) -> Record:
    """By an operator, at the node whose data goes on, after the store lost its record or was put back.

    Above every epoch that any node has promised (``epochs_seen``), so that none refuses it. The history is a new one,
    because the chosen data may lack what others, and clients, have seen of the old one.
    """
    return Record(cluster, history, epochs_seen + 1, me, uptime, frozenset({me}), minimum, change)


# -- by the primary --------------------------------------------------------------------------


def hand_over(
    record: Record, *, target: Member, target_uptime: str, acked: int | None, log_end: int, change: str
) -> Record:
    """The target is in sync and holds the whole log, and no new finishes begin meanwhile.

    Epoch + 1. Both stay in sync. Only the run of the target that was asked reigns.
    """
    if target == record.primary:
        raise Refusal(f"{target} is the primary already")
    if target not in record.in_sync:
        raise Refusal(f"{target} is not in sync")
    if acked is None or acked < log_end:
        raise Refusal(f"{target} holds the log up to {acked or 0}, which ends at {log_end}")
    return changed(record, epoch=record.epoch + 1, primary=target, uptime=target_uptime, change=change)


def shrink(record: Record, *, member: Member, change: str) -> Record:
    """Swapped first; only then is that member's acknowledgement no longer required.

    Never below ``minimum`` members, so that the last ones standing are always complete.
    """
    if member == record.primary:
        raise Refusal("the primary does not leave its own set: hand over first")
    if member not in record.in_sync:
        raise Refusal(f"{member} is not in sync")
    if len(record.in_sync) - 1 < record.minimum:
        raise Refusal(f"{len(record.in_sync)} members are in sync, and {record.minimum} must stay")
    return changed(record, in_sync=record.in_sync - {member}, change=change)


def expand(record: Record, *, follower: Progress, commit: int, epoch_start: int, change: str) -> Record:
    """The follower has reached the commit point and the epoch start, and has acknowledged in this epoch.

    Its acknowledgement is required from the moment the swap is sent.
    """
    present = record.member_of(follower.member.node)
    if present == follower.member:
        raise Refusal(f"{present} is in sync already")
    if present is not None:
        raise Refusal(f"{present} is in sync: {follower.member} can only replace it")
    _demand_caught_up(follower, commit, epoch_start)
    return changed(record, in_sync=record.in_sync | {follower.member}, change=change)


def replace(record: Record, *, follower: Progress, commit: int, epoch_start: int, change: str) -> Record:
    """An expand of a node's new incarnation in the place of its old one, whose disk was lost, in one swap."""
    old = record.member_of(follower.member.node)
    if old is None:
        raise Refusal(f"no incarnation of {follower.member.node} is in sync")
    if old == follower.member:
        raise Refusal(f"{old} is in sync already")
    if old == record.primary:
        raise Refusal(f"{old} reigns: nothing replaces it but a takeover")
    _demand_caught_up(follower, commit, epoch_start)
    return changed(record, in_sync=record.in_sync - {old} | {follower.member}, change=change)


def _demand_caught_up(follower: Progress, commit: int, epoch_start: int) -> None:
    if not follower.electable:
        raise Refusal(f"{follower.member} is an async member: it is never in sync")
    if not follower.complete:
        raise Refusal(f"{follower.member} is still taking a snapshot")
    if follower.acked is None:
        raise Refusal(f"{follower.member} has acknowledged nothing in this epoch")
    if follower.acked < commit:
        raise Refusal(f"{follower.member} is at {follower.acked}, and the commit point at {commit}")
    if follower.acked < epoch_start:
        raise Refusal(f"{follower.member} is at {follower.acked}, and the epoch began at {epoch_start}")


# -- by an operator, through the primary -------------------------------------------------------


def set_minimum(record: Record, *, minimum: int, epoch: int | None, change: str) -> Record:
    """Never above the size of the set. Lowering names the epoch, so that it is meant for what is there now.

    While the change is pending, the larger minimum counts.
    """
    if minimum < 1:
        raise Refusal("every commit is on one disk at least")
    if minimum > len(record.in_sync):
        raise Refusal(f"{minimum} is above the {len(record.in_sync)} members in sync: commits would stop")
    if minimum < record.minimum and epoch != record.epoch:
        raise Refusal(f"lowering the minimum from {record.minimum} must name the present epoch, {record.epoch}")
    return changed(record, minimum=minimum, change=change)


def remove(record: Record, *, node: NodeId, change: str) -> Record:
    """A shrink by name, for a node that will not come back."""
    member = record.member_of(node)
    if member is None:
        raise Refusal(f"{node} is not in sync")
    return shrink(record, member=member, change=change)


# -- as bytes --------------------------------------------------------------------------------


def encode(record: Record) -> bytes:
    return json.dumps(
        {
            "format": RECORD_FORMAT,
            "cluster": record.cluster,
            "history": record.history,
            "epoch": record.epoch,
            "primary": record.primary.node,
            "uptime": record.uptime,
            "in_sync": {member.node: member.incarnation for member in sorted(record.in_sync)},
            "minimum": record.minimum,
            "change": record.change,
        }
    ).encode()


def decode(data: bytes) -> Record:
    """The record in ``data``; ``errors.Damaged`` if it is none that this version knows."""
    try:
        fields = json.loads(data)
        if fields["format"] != RECORD_FORMAT:
            raise errors.Damaged(
                f"the coordinator's record has format {fields['format']}, and this version knows {RECORD_FORMAT}: "
                "upgrade this node"
            )
        in_sync = _members(fields["in_sync"].items())
        primary = next(member for member in in_sync if member.node == fields["primary"])
        if not (_is_number(fields["epoch"]) and _is_number(fields["minimum"])):
            raise ValueError("epoch and minimum count from 1")
        texts = [_text(fields[name]) for name in ("cluster", "history", "uptime", "change")]
    except (ValueError, KeyError, TypeError, AttributeError, StopIteration) as error:
        raise errors.Damaged(f"the coordinator's record is not one of Springtide's: {error!r}") from error
    cluster, history, uptime, change = texts
    return Record(cluster, history, fields["epoch"], primary, uptime, in_sync, fields["minimum"], change)


def _members(pairs: Iterable[tuple[object, object]]) -> frozenset[Member]:
    return frozenset(Member(NodeId(_text(node)), _text(incarnation)) for node, incarnation in pairs)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"text expected, found {value!r}")
    return value


def _is_number(value: object) -> bool:
    return type(value) is int and value >= 1
