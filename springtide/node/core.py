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
from springtide.coordinator import election, membership, topology
from springtide.coordinator.election import Me, NewIds, PrimarySeen
from springtide.coordinator.elector import Elector, enter
from springtide.coordinator.membership import Membership
from springtide.coordinator.store import Announcement, Store, View
from springtide.coordinator.topology import Record
from springtide.node import reigning
from springtide.node.answers import NodeInfo, Topology
from springtide.node.ports import Disk, Peers
from springtide.primary.leadership import Settings as ReignSettings
from springtide.primary.reign import Reign
from springtide.records.ids import Member, NodeId, Tid
from springtide.replica.bootstrap import bootstrap
from springtide.replica.follower import Leave, Why
from springtide.replica.subscription import follow

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Settings:
    """Times in seconds. ``initial_nodes`` is how many nodes the cluster is meant to begin with."""

    initial_nodes: int = 1
    min_in_sync: int | None = None
    electable: bool = True
    lease_seconds: float = 3.0
    #: A primary that said something this recently is there, whatever the store says.
    heard_seconds: float = 1.0
    retry_seconds: float = 0.05
    reign: ReignSettings = field(default_factory=ReignSettings)


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
        self.membership: Membership | None = None
        self.elector: Elector | None = None
        self.on_committed: list[Callable[[Sequence[Any]], None]] = []
        self.on_topology: list[Callable[[], None]] = []
        self.on_reign_ended: list[Callable[[], None]] = []
        self._store = store
        self._peers = peers
        self._wall = wall
        self._fresh = fresh
        self._heard: tuple[str, float] = ("", float("-inf"))  # uptime of a primary, and when
        self._gone: set[str] = set()
        self._waiters: list[tuple[Tid, asyncio.Future[None]]] = []
        self._changing = asyncio.Lock()

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
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while floor > self.disk.commit_tid or not self.disk.complete or not self.cluster:
            left = deadline - loop.time()
            if left <= 0:
                raise errors.NotCaughtUp(
                    f"node {self.node} has the commits up to {self.disk.commit_tid.hex()}, asked for {floor.hex()}"
                    if self.disk.complete
                    else f"node {self.node} is still copying the database"
                )
            waiter = loop.create_future()
            self._waiters.append((floor, waiter))
            await asyncio.wait((waiter,), timeout=min(left, 0.1))
            waiter.cancel()

    # -- told by the roles ----------------------------------------------------------------------

    def committed(self, committed: Sequence[Any], commit_lsn: int = 0) -> None:
        """The commit point moved: whoever serves clients hears it, in order."""
        for tell in self.on_committed:
            tell(committed)
        if self._waiters:
            now = self.disk.commit_tid
            for tid, waiter in self._waiters:
                if tid <= now and not waiter.done():
                    waiter.set_result(None)
            self._waiters = [(tid, waiter) for tid, waiter in self._waiters if not waiter.done()]

    def heard(self, now: float) -> None:
        self._heard = (self._heard[0], now)

    def welcome(self, epoch: int, primary: NodeId, uptime: str) -> None:
        self._heard = (uptime, asyncio.get_running_loop().time())
        self._become("replica")

    def _become(self, role: str, note: str = "") -> None:
        if (role, note) != (self.role, self.note):
            log.info("node %s: %s%s", self.node, role, f" ({note})" if note else "")
        changed = role != self.role
        self.role, self.note = role, note
        if changed:
            self._topology_changed()

    def _topology_changed(self) -> None:
        for tell in self.on_topology:
            tell()

    # -- the loop -------------------------------------------------------------------------------

    async def run(self) -> None:
        """Play the roles until cancelled. Raises an OperatorError where only an operator can help."""
        starts = self.disk.identity.starts
        self._become("starting", "waiting for the coordinator")
        view, counted = await enter(self._store, self.node, starts)
        if counted > starts:
            # The store has seen later starts of this node than this directory: an older copy was put back.
            await self.disk.renew_incarnation()
        self.elector = Elector(self._store, view, self._announcement(), self.settings.lease_seconds)
        elector = asyncio.ensure_future(self.elector.run())
        roles = asyncio.ensure_future(self._roles(self.elector))
        try:
            await asyncio.wait((elector, roles), return_when=asyncio.FIRST_COMPLETED)
            for task in (roles, elector):
                if task.done():
                    task.result()
        finally:
            for task in (roles, elector):
                task.cancel()
            await asyncio.gather(roles, elector, return_exceptions=True)

    def _announcement(self) -> Announcement:
        return Announcement(self.node, self.address, self.disk.identity.incarnation, self.uptime)

    async def _roles(self, elector: Elector) -> None:
        known: object = None
        while True:
            decision = self._decide(elector.view)
            if (elector.view.record, elector.view.announcements) != known:
                known = (elector.view.record, elector.view.announcements)
                self._topology_changed()
            match decision:
                case election.Create(record):
                    if self.settings.min_in_sync is not None:
                        record = replace(record, minimum=self.settings.min_in_sync)
                    await self._swap(elector, record, 0)
                case election.TakeOver(record):
                    self._become("candidate", f"standing for epoch {record.epoch}")
                    await self._swap(elector, record, elector.view.revision)
                case election.Reign():
                    await self._reign(elector, elector.view)
                case election.Follow(address=None):
                    await self._pause(elector)
                case election.Follow():
                    await self._follow(elector, decision)
                case election.Wait(reason):
                    self._become("waiting", reason)
                    await self._pause(elector)
                case election.Stop(error):
                    await self._stop_if_confirmed(elector, error)

    def _decide(self, view: View) -> election.Decision:
        identity = self.disk.identity
        me = Me(self.me, self.uptime, identity.cluster, identity.promised, self.disk.complete, self.settings.electable)
        new = NewIds(self._fresh(), self._fresh(), self._fresh())
        return election.decide(me, view, self._seen(view), self.settings.initial_nodes, new)

    def _seen(self, view: View) -> PrimarySeen:
        if view.record is None:
            return PrimarySeen.SILENT
        uptime, at = self._heard
        if view.record.uptime in self._gone:
            return PrimarySeen.GONE
        recently = asyncio.get_running_loop().time() - at < self.settings.heard_seconds
        return PrimarySeen.HEARD if recently and uptime == view.record.uptime else PrimarySeen.SILENT

    async def _swap(self, elector: Elector, record: Record, revision: int) -> None:
        try:
            await elector.swap(record, revision)
        except errors.Unreachable as error:
            # It may have landed, or may land later: only the record tells.
            self._become("waiting", f"the coordinator does not answer: {error}")
            await self._pause(elector)
            try:
                await elector.refresh()
            except errors.Unreachable:
                return

    async def _pause(self, elector: Elector, seconds: float | None = None) -> None:
        """Until the view changes, at most for a moment."""
        view = elector.view
        try:
            async with asyncio.timeout(self.settings.retry_seconds if seconds is None else seconds):
                await elector.until(lambda: elector.view is not view)
        except TimeoutError:
            pass

    async def _stop_if_confirmed(self, elector: Elector, error: errors.SpringtideError) -> None:
        self._become("waiting", str(error))
        try:
            view = await elector.refresh()
        except errors.Unreachable:
            await self._pause(elector, 1.0)
            return
        if isinstance(self._decide(view), election.Stop):
            raise error

    # -- reigning -------------------------------------------------------------------------------

    async def _reign(self, elector: Elector, view: View) -> None:
        assert view.record is not None
        record = view.record
        await self.disk.promise(record.epoch)
        if (self.cluster, self.history) != (record.cluster, record.history):
            await self.disk.adopt(record.cluster, record.history)
        members = self.membership = Membership(record, view.revision)
        reign = self.reign = Reign(
            self.disk,
            self.me,
            record.epoch,
            self.uptime,
            members.required,
            members.minimum,
            self.settings.reign,
            self._wall,
            self.committed,
        )
        self._become("primary", f"epoch {record.epoch}")
        began = asyncio.get_running_loop().time()
        changing: asyncio.Task[None] | None = None
        try:
            while not reign.ended.done():
                members.saw(elector.view)
                if members.deposed_by is not None:
                    reign.end(f"epoch {members.deposed_by.epoch} of {members.deposed_by.primary.node} has begun")
                    return
                reign.require(members.required, members.minimum)
                reign.drop_hanging(asyncio.get_running_loop().time())
                if (changing is None or changing.done()) and members.settled and not self._changing.locked():
                    change = reigning.wanted_change(
                        reign, members, began, asyncio.get_running_loop().time(), self._fresh()
                    )
                    if change is not None:
                        log.info("node %s: in-sync set: %s", self.node, reigning.describe(change))
                        changing = asyncio.ensure_future(self._change(elector, reign, members, change))
                await self._pause_reign(elector, reign)
        finally:
            reign.end("it left the role")
            if changing is not None:
                changing.cancel()
                await asyncio.gather(changing, return_exceptions=True)
            self.reign, self.membership = None, None
            self._become("waiting", str(reign.ended.result()))
            for tell in self.on_reign_ended:
                tell()

    async def _pause_reign(self, elector: Elector, reign: Reign) -> None:
        view = elector.view
        changed = asyncio.ensure_future(elector.until(lambda: elector.view is not view))
        try:
            await asyncio.wait(
                (changed, reign.ended),
                timeout=self.settings.reign.heartbeat_seconds / 2,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            changed.cancel()
            await asyncio.gather(changed, return_exceptions=True)
        if elector.view is not view:
            self._topology_changed()

    async def _change(self, elector: Elector, reign: Reign, members: Membership, record: Record) -> None:
        """Swap ``record`` in; ends when it is known what became of it."""
        async with self._changing:
            if not members.settled or reign.ended.done():
                return
            members.propose(record)
            while True:
                reign.require(members.required, members.minimum)
                try:
                    members.answered(await elector.swap(record, members.revision))
                except errors.Unreachable:
                    members.answered(membership.Unknown())
                if members.deposed_by is None:
                    reign.require(members.required, members.minimum)
                if members.unanswered is None:
                    break
                await self._pause(elector, 0.25)
                members.saw(elector.view)
                if members.unanswered is None:
                    break
                record = members.again(self._fresh())
            self._topology_changed()

    async def hand_over(self, to: NodeId | None, seconds: float = 5.0) -> Record:
        """Switchover. Returns the record that names the new primary.

        Raises NotPrimary, BadRequest (no such in-sync node) or Unreachable (did not happen in time).
        """
        reign, members, elector = self.reign, self.membership, self.elector
        if reign is None or members is None or elector is None:
            raise self.not_primary()
        target = reigning.successor(reign, members, elector.view, to)
        # Not cancelled with the caller: once the swap is sent, it must become known what became of it.
        switch = asyncio.ensure_future(self._switch(elector, reign, members, target, seconds))
        await asyncio.wait((switch,), timeout=seconds)
        if members.deposed_by is not None:
            return members.deposed_by
        why = switch.exception() if switch.done() and not switch.cancelled() else None
        raise errors.Unreachable(f"{target.node} did not take over from {self.node} within {seconds:g} s: {why or ''}")

    async def _switch(
        self, elector: Elector, reign: Reign, members: Membership, target: Announcement, seconds: float
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                await reign.quiesce(target.member)
            while not members.settled:
                await self._pause(elector)
            record = topology.hand_over(
                members.record,
                target=target.member,
                target_uptime=target.uptime,
                acked=reign.commits.acked(target.member),
                log_end=reign.last.lsn,
                change=self._fresh(),
            )
            await self._change(elector, reign, members, record)
        finally:
            # While it is not known whether the hand-over landed, nothing may be appended.
            if members.deposed_by is None and members.settled:
                reign.resume()

    # -- following ------------------------------------------------------------------------------

    async def _follow(self, elector: Elector, decision: election.Follow) -> None:
        record = elector.view.record
        assert record is not None and decision.address is not None
        feed = asyncio.ensure_future(
            follow(
                self.disk,
                self._peers,
                decision.address,
                self.me,
                self.uptime,
                record.cluster,
                record.epoch,
                electable=self.settings.electable,
                observer=self,
            )
        )
        try:
            while not feed.done():
                view = elector.view
                changed = asyncio.ensure_future(elector.until(lambda: elector.view is not view))  # noqa: B023
                timeout = self.settings.reign.heartbeat_seconds
                await asyncio.wait((feed, changed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                changed.cancel()
                await asyncio.gather(changed, return_exceptions=True)
                if elector.view is not view:
                    self._topology_changed()
                now = self._decide(elector.view)
                same = isinstance(now, election.Follow) and (now.node, now.epoch) == (decision.node, decision.epoch)
                if not same:
                    return  # leaving the feed is how a candidate stops acknowledging
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
        await self._left(elector, record, decision.address, feed.result())

    async def _left(self, elector: Elector, record: Record, address: str, leave: Leave) -> None:
        self._heard = ("", float("-inf"))
        if leave.why is Why.SNAPSHOT:
            await self._bootstrap(elector, record, address)
            return
        self._become("waiting", leave.detail)
        if leave.why is Why.LOST and await self._peers.refuses(address):
            announced = elector.view.announcements.get(record.primary.node)
            if announced is None or announced.uptime == record.uptime or announced.address == address:
                self._gone.add(record.uptime)
                return
        if leave.why is Why.FAULTY:
            log.error("node %s: the primary at %s: %s", self.node, address, leave.detail)
        await self._pause(elector)

    async def _bootstrap(self, elector: Elector, record: Record, address: str) -> None:
        self._become("joining", "copying the database")
        source = reigning.snapshot_source(record, elector.view, self.node) or address
        for candidate in dict.fromkeys((source, address)):
            try:
                await bootstrap(self.disk, self._peers, candidate, record.cluster, record.history)
                break
            except errors.Unreachable as error:
                log.warning("node %s: the copy from %s stopped: %s", self.node, candidate, error)
        else:
            await self._pause(elector, 0.5)
        await elector.announce(self._announcement())
