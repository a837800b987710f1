"""A node's roles: found, take over, reign, follow, as one loop around one decision.

Knows no gRPC, no LMDB and no clock but the event loop's: the simulator runs this
very class on a virtual network, disk and store.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from springtide import errors
from springtide.coordinator import election
from springtide.coordinator.election import Me, NewIds
from springtide.coordinator.elector import Elector, enter
from springtide.coordinator.membership import Membership
from springtide.coordinator.store import Announcement, Store, View
from springtide.coordinator.topology import Record
from springtide.node import staleness
from springtide.node.answers import NodeInfo, Topology
from springtide.node.as_primary import AsPrimary
from springtide.node.as_replica import AsReplica
from springtide.node.catching_up import CatchingUp
from springtide.node.ports import Disk, Peers
from springtide.primary.leadership import Settings as ReignSettings
from springtide.primary.packing import OpenMarker
from springtide.primary.reign import Reign
from springtide.primary.retention import Policy
from springtide.records.ids import Member, NodeId, Tid

log = logging.getLogger(__name__)

#: A read that this node cannot answer yet waits this long for the commit point, then the client goes elsewhere.
CATCH_UP_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds. ``initial_nodes`` is how many nodes the cluster is meant to begin with."""

    initial_nodes: int = 1
    min_in_sync: int | None = None
    electable: bool = True
    lease_seconds: float = 3.0
    #: A primary that said something this recently is there, whatever the store says.
    heard_seconds: float = 1.0
    #: After so long without proof from a primary, this node says that what it shows may be old.
    staleness_max_seconds: float = 10.0
    retry_seconds: float = 0.05
    reign: ReignSettings = field(default_factory=ReignSettings)
    #: What is packed without being asked for.
    retention: Policy | None = None


class NodeCore:
    """Invariant: at most one role at a time; ``reign`` is set while this node may order transactions."""

    def __init__(
        self,
        disk: Disk,
        store: Store,
        peers: Peers,
        node: NodeId,
        address: str,
        uptime: str,
        settings: Settings,
        wall: Callable[[], float],
        fresh: Callable[[], str],
    ) -> None:
        """``wall`` gives seconds since 1970; ``fresh`` a new random name at each call."""
        self.disk = disk
        self.node = node
        self.address = address
        self.uptime = uptime
        self.settings = settings
        self.role = "starting"
        self.note = ""
        self.reign: Reign | None = None
        #: Finds out what packs take away; None: packs are refused here.
        self.open_marker: OpenMarker | None = None
        self.membership: Membership | None = None
        self.elector: Elector | None = None
        self.on_committed: list[Callable[[Sequence[Any]], None]] = []
        self.on_topology: list[Callable[[], None]] = []
        self.on_reign_ended: list[Callable[[], None]] = []
        #: Told before the database here is replaced by a copy of another node's.
        self.on_copy: list[Callable[[], None]] = []
        self._store = store
        self.peers = peers
        self.wall = wall
        self.fresh = fresh
        self.as_primary = AsPrimary(self)
        self.as_replica = AsReplica(self)
        self._catching_up = CatchingUp(self)
        self._history = disk.identity.history
        #: What is read here may be old: see ``staleness_max_seconds``.
        self.stale = False

    # -- what others see ------------------------------------------------------------------------

    @property
    def me(self) -> Member:
        return Member(self.node, self.disk.identity.incarnation)

    @property
    def cluster(self) -> str:
        return self.disk.identity.cluster

    @property
    def history(self) -> str:
        return self.disk.identity.history

    @property
    def record(self) -> Record | None:
        if self.membership is not None:
            return self.membership.record
        return self.elector.view.record if self.elector is not None else None

    def topology(self) -> Topology:
        """Who leads and where the nodes are, as far as this node knows."""
        record = self.record
        if record is None or self.elector is None:
            return Topology()
        nodes = {a.node: a.address for a in self.elector.view.announcements.values()} | {self.node: self.address}
        in_sync = {member.node for member in record.in_sync}
        leads = record.primary.node if record.primary.node != self.node or self.reign is not None else NodeId("")
        return Topology(
            record.epoch,
            leads,
            tuple(NodeInfo(n, address, n == leads, n in in_sync) for n, address in sorted(nodes.items())),
            self.stale,
        )

    def not_primary(self) -> errors.NotPrimary:
        """The error for a request that only the primary answers."""
        known = self.topology()
        address = next((node.address for node in known.nodes if node.primary and node.id != self.node), None)
        return errors.NotPrimary(
            f"node {self.node} is not the primary; " + (f"{known.primary} is" if address else "none is known just now"),
            address,
        )

    async def until_tid(self, floor: Tid, seconds: float) -> None:
        """Wait until the commit point here covers ``floor``; NotCaughtUp after ``seconds``."""
        await self._catching_up.until(floor, seconds)

    # -- told by the roles ----------------------------------------------------------------------

    def committed(self, committed: Sequence[Any]) -> None:
        """The commit point moved: whoever serves clients hears it, in order."""
        for tell in self.on_committed:
            tell(committed)
        self._catching_up.committed()

    def history_adopted(self) -> None:
        """Before anything of another history is shown, whoever shows clients this one ends it."""
        former, self._history = self._history, self.history
        if former not in ("", self._history):
            log.warning("node %s: history %s is over, %s goes on", self.node, former, self._history)
            for tell in self.on_copy:
                tell()

    def become(self, role: str, note: str = "") -> None:
        """Say what this node is now, and why it is not more."""
        if (role, note) != (self.role, self.note):
            log.info("node %s: %s%s", self.node, role, f" ({note})" if note else "")
        changed = role != self.role
        self.role, self.note = role, note
        if changed:
            self.topology_changed()

    def topology_changed(self) -> None:
        """Whoever shows clients the nodes hears it."""
        for tell in self.on_topology:
            tell()

    # -- the loop -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play the roles until cancelled. Raises an OperatorError where only an operator can help."""
        starts = self.disk.identity.starts
        self.become("starting", "waiting for the coordinator")
        view, counted = await enter(self._store, self.node, starts)
        if counted > starts:
            # The store has seen later starts of this node than this directory: an older copy was put back.
            await self.disk.renew_incarnation(counted)
        await self._check_name(view)
        self.elector = Elector(self._store, view, self.announcement(), self.settings.lease_seconds)
        elector = asyncio.ensure_future(self.elector.run())
        roles = asyncio.ensure_future(self._roles(self.elector))
        watching = asyncio.ensure_future(staleness.watch(self))
        try:
            await asyncio.wait((elector, roles), return_when=asyncio.FIRST_COMPLETED)
            for task in (roles, elector):
                if task.done():
                    task.result()
        finally:
            for task in (roles, elector, watching):
                task.cancel()
            await asyncio.gather(roles, elector, watching, return_exceptions=True)

    async def _check_name(self, view: View) -> None:
        """Two nodes of one name would push each other out of the in-sync set: the second one does not start."""
        there = view.announcements.get(self.node)
        foreign = view.record is not None and self.cluster not in ("", view.record.cluster)
        if there is None or foreign or self.address == there.address or self.me.incarnation == there.incarnation:
            return  # nobody, a directory that is refused for a better reason, or a former run of this node
        if not await self.peers.refuses(there.address):
            raise errors.Occupied(
                f"a node called {self.node} is there already, at {there.address}: give the one at {self.address} "
                "another name, or stop the other and wait until its announcement has expired"
            )

    def announcement(self) -> Announcement:
        """How this run of this node makes itself known."""
        return Announcement(self.node, self.address, self.disk.identity.incarnation, self.uptime)

    async def _roles(self, elector: Elector) -> None:
        known: object = None
        while True:
            decision = self.decide(elector.view)
            if (elector.view.record, elector.view.announcements) != known:
                known = (elector.view.record, elector.view.announcements)
                self.topology_changed()
            match decision:
                case election.Create(record):
                    if self.settings.min_in_sync is not None:
                        record = replace(record, minimum=self.settings.min_in_sync)
                    await self._swap(elector, record, 0)
                case election.TakeOver() if not elector.store_reachable:
                    self.become("waiting", "the coordinator does not answer, so nobody can take over")
                    await self.pause(elector)
                case election.TakeOver(record):
                    self.become("candidate", f"standing for epoch {record.epoch}")
                    await self._swap(elector, record, elector.view.revision)
                case election.Reign():
                    await self.as_primary.reign(elector, elector.view)
                case election.Follow(address=None):
                    await self.pause(elector)
                case election.Follow():
                    await self.as_replica.follow(elector, decision)
                case election.Wait(reason):
                    self.become("waiting", reason)
                    await self.pause(elector)
                case election.Stop(error):
                    await self._stop_if_confirmed(elector, error)

    def decide(self, view: View) -> election.Decision:
        """What this node should be, by that view."""
        identity = self.disk.identity
        me = Me(self.me, self.uptime, identity.cluster, identity.promised, self.disk.complete, self.settings.electable)
        new = NewIds(self.fresh(), self.fresh(), self.fresh())
        return election.decide(me, view, self.as_replica.seen(view), self.settings.initial_nodes, new)

    async def _swap(self, elector: Elector, record: Record, revision: int) -> None:
        try:
            await elector.swap(record, revision)
        except errors.Unreachable as error:
            # It may have landed, or may land later: only the record tells.
            self.become("waiting", f"the coordinator does not answer: {error}")
            await self.pause(elector)
            try:
                await elector.refresh()
            except errors.Unreachable:
                return

    async def pause(self, elector: Elector, seconds: float | None = None) -> None:
        """Until the view changes, at most for a moment."""
        view = elector.view
        try:
            async with asyncio.timeout(self.settings.retry_seconds if seconds is None else seconds):
                await elector.until(lambda: elector.view is not view)
        except TimeoutError:
            pass

    async def _stop_if_confirmed(self, elector: Elector, error: errors.SpringtideError) -> None:
        self.become("waiting", str(error))
        try:
            view = await elector.refresh()
        except errors.Unreachable:
            await self.pause(elector, 1.0)
            return
        if isinstance(self.decide(view), election.Stop):
            raise error

    async def renew_uptime(self) -> None:
        """From now on this is another run of this node."""
        self.uptime = self.fresh()
        if self.elector is not None:
            await self.elector.announce(self.announcement())

    async def hand_over(self, to: NodeId | None, seconds: float = 5.0) -> Record:
        """Switchover: see ``AsPrimary.hand_over``."""
        return await self.as_primary.hand_over(to, seconds)
