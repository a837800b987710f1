"""What an operator changes in the coordinator's record: the minimum, the set, and by force the primary.

A shell around ``coordinator.topology``, whose rules hold for operators, too. The minimum and
the set change through the primary; force happens at the node whose data is to go on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.store import Swapped
from springtide.coordinator.topology import Record, Refusal
from springtide.node.core import NodeCore
from springtide.records.ids import NodeId

log = logging.getLogger(__name__)

#: What a member gets to say that it is there, or to promise an epoch.
FENCE_SECONDS = 3.0


class Peers(Protocol):
    """Of ``node.peers.GrpcPeers``: what reaches the members of the epoch that is overridden."""

    async def fence(self, address: str, cluster: str, epoch: int, seconds: float, /) -> bool:
        """Have the node there promise ``epoch`` (0: nothing); whether it reigns. Raises Unreachable."""


@dataclass(frozen=True, slots=True)
class Forced:
    """``unfenced``: members of the former set that could not be told."""

    record: Record
    fenced: tuple[NodeId, ...]
    unfenced: tuple[NodeId, ...]


async def set_minimum(core: NodeCore, minimum: int, epoch: int | None) -> Record:
    """Raises NotPrimary, BadRequest with the rule that forbids it, or Unreachable where it did not happen in time."""

    def change(record: Record) -> Record:
        if record.minimum == minimum:
            raise Refusal(f"the minimum is {minimum} already")
        return topology.set_minimum(record, minimum=minimum, epoch=epoch, change=core.fresh())

    record = await _change(core, change)
    log.warning("an operator has set the minimum of in-sync nodes to %s, in epoch %s", minimum, record.epoch)
    return record


async def remove(core: NodeCore, node: NodeId) -> Record:
    """As ``set_minimum`` raises. A node that runs comes back by itself when it has caught up."""
    record = await _change(core, lambda record: topology.remove(record, node=node, change=core.fresh()))
    log.warning("an operator has removed node %s from the in-sync set, in epoch %s", node, record.epoch)
    return record


async def _change(core: NodeCore, change: Callable[[Record], Record]) -> Record:
    try:
        return await core.as_primary.change(change)
    except Refusal as refusal:
        raise errors.BadRequest(f"nothing was changed: {refusal}") from None


# -- force ---------------------------------------------------------------------------------------


async def fence(core: NodeCore, cluster: str, epoch: int) -> bool:
    """An operator has another node lead from ``epoch`` on: promise it. 0 asks only; whether this node reigns."""
    if cluster != core.cluster:
        raise errors.WrongCluster(f"node {core.node} belongs to cluster {core.cluster}, not to {cluster}")
    reign = core.reign
    reigns = reign is not None and not reign.ended.done()
    if epoch:
        await core.disk.promise(epoch)
        if reign is not None and reign.epoch < epoch:
            reign.end(f"an operator has another node lead from epoch {epoch} on")
    return reigns


async def force(core: NodeCore, peers: Peers, epoch: int, off: Sequence[NodeId]) -> Forced:
    """Lead from here, in a new history, whatever other nodes hold. ``off`` says which members are known to be off.

    Raises BadRequest where a rule forbids it, with what to do, or Unreachable.
    """
    elector = core.elector
    if elector is None:
        raise errors.Unreachable(f"node {core.node} has not reached the coordinator yet")
    view = await elector.refresh()
    record = view.record
    if record is None or record.cluster != core.cluster:
        raise errors.BadRequest("the coordinator has no record of this cluster: see `springtide recover`")
    _check(core, record, epoch)
    addresses = {a.node: a.address for a in view.announcements.values() if a.node != core.node}
    former = sorted({member.node for member in record.in_sync} - {core.node})
    there = await _reached(peers, addresses, core.cluster, 0)
    reigning = [node for node, reigns in there.items() if reigns]
    if reigning:
        raise errors.BadRequest(
            f"node {reigning[0]} answers and reigns: hand over from it, which loses nothing (springtide handover)"
        )
    doubtful = [node for node in former if node not in there and node not in off]
    if doubtful:
        raise errors.BadRequest(
            f"in-sync nodes that cannot be reached must be off, or they may go on committing: {', '.join(doubtful)}. "
            f"Turn them off, then say so with --off {','.join(doubtful)}"
        )
    forced = topology.force(
        record, me=core.me, uptime=core.uptime, epoch=epoch, history=core.fresh(), change=core.fresh()
    )
    log.warning(
        "an operator forces node %s to lead: epoch %s overrides epoch %s of %s, in a new history; its log ends at %s",
        core.node,
        forced.epoch,
        record.epoch,
        record.primary.node,
        core.disk.last,
    )
    if not isinstance(await elector.swap(forced, view.revision), Swapped):
        raise errors.BadRequest("the record changed meanwhile: look again before anything is forced")
    fenced = await _reached(peers, addresses, core.cluster, forced.epoch)
    return Forced(forced, tuple(sorted(fenced)), tuple(node for node in former if node not in fenced))


def _check(core: NodeCore, record: Record, epoch: int) -> None:
    if epoch != record.epoch:
        raise errors.BadRequest(f"epoch {epoch} was to be overridden, but epoch {record.epoch} reigns")
    if core.reign is not None:
        raise errors.BadRequest(f"node {core.node} leads already, in epoch {record.epoch}")
    if not core.disk.complete:
        raise errors.BadRequest(f"node {core.node} holds a part of the database only: its copy is not complete")
    if not core.settings.electable:
        raise errors.BadRequest(f"node {core.node} is an async member, which does not lead")


async def _reached(peers: Peers, addresses: dict[NodeId, str], cluster: str, epoch: int) -> dict[NodeId, bool]:
    """The nodes that answered, and whether each reigns."""
    asked = {node: peers.fence(address, cluster, epoch, FENCE_SECONDS) for node, address in addresses.items()}
    answers = await asyncio.gather(*asked.values(), return_exceptions=True)
    return {node: answer for node, answer in zip(asked, answers, strict=True) if isinstance(answer, bool)}
