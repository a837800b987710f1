"""A node as replica: following a primary, noticing when it is gone, copying the database."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from springtide import errors
from springtide.coordinator import election
from springtide.coordinator.election import PrimarySeen
from springtide.coordinator.elector import Elector
from springtide.coordinator.store import View
from springtide.coordinator.topology import Record
from springtide.node import reigning
from springtide.records.entries import Malformed
from springtide.records.ids import NodeId
from springtide.replica.bootstrap import bootstrap
from springtide.replica.follower import Leave, Why
from springtide.replica.subscription import follow

if TYPE_CHECKING:
    from springtide.node.core import NodeCore

log = logging.getLogger(__name__)

#: Before a primary that broke the protocol is asked again.
FAULTY_SECONDS = 1.0


class AsReplica:
    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._heard: tuple[str, float] = ("", float("-inf"))  # uptime of a primary, and when
        #: When a primary last had proof that it reigns.
        self.proven_at = float("-inf")
        #: Uptimes of primaries whose port refused, and when. Believed for one lease: what refused may have
        #: been a firewall's mistake, and then looking again is how it is found out.
        self._gone: dict[str, float] = {}
        #: A copy was taken, and nothing of the feed was committed since.
        self._copied = False

    # -- told by the feed -----------------------------------------------------------------------

    def heard(self, now: float) -> None:
        self._heard = (self._heard[0], now)

    def proven(self, at: float) -> None:
        self.proven_at = max(self.proven_at, at)

    def welcome(self, epoch: int, primary: NodeId, uptime: str) -> None:
        self._heard = (uptime, asyncio.get_running_loop().time())
        self._core.become("replica")

    def committed(self, committed: Sequence[Any], commit_lsn: int) -> None:
        self._copied = False
        self.proven(asyncio.get_running_loop().time())  # all whom the primary needs have acknowledged it
        self._core.history_adopted()
        self._core.committed(committed)

    # -- following ------------------------------------------------------------------------------

    def seen(self, view: View) -> PrimarySeen:
        """What is known here of the primary in ``view``."""
        if view.record is None:
            return PrimarySeen.SILENT
        uptime, at = self._heard
        now, settings = asyncio.get_running_loop().time(), self._core.settings
        if now - self._gone.get(view.record.uptime, float("-inf")) < settings.lease_seconds:
            return PrimarySeen.GONE
        recently = now - at < settings.heard_seconds
        return PrimarySeen.HEARD if recently and uptime == view.record.uptime else PrimarySeen.SILENT

    async def follow(self, elector: Elector, decision: election.Follow) -> None:
        """Follow the primary that was decided on, until another decision is due."""
        core = self._core
        record = elector.view.record
        assert record is not None and decision.address is not None
        feed = asyncio.ensure_future(
            follow(
                core.disk,
                core.peers,
                decision.address,
                core.me,
                core.uptime,
                record.cluster,
                record.epoch,
                electable=core.settings.electable,
                observer=self,
                wall=core.wall,
            )
        )
        try:
            while not feed.done():
                view = elector.view
                changed = asyncio.ensure_future(elector.until(lambda: elector.view is not view))  # noqa: B023
                timeout = core.settings.reign.heartbeat_seconds
                try:
                    await asyncio.wait((feed, changed), timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    changed.cancel()
                    await asyncio.gather(changed, return_exceptions=True)
                if elector.view is not view:
                    core.topology_changed()
                now = core.decide(elector.view)
                same = isinstance(now, election.Follow) and (now.node, now.epoch) == (decision.node, decision.epoch)
                if not same:
                    return  # leaving the feed is how a candidate stops acknowledging
        finally:
            feed.cancel()
            await asyncio.gather(feed, return_exceptions=True)
        try:
            leave = feed.result()
        except (errors.Rejected, Malformed, ValueError) as error:
            leave = Leave(Why.FAULTY, str(error))
        await self._left(elector, record, decision.address, leave)

    async def _left(self, elector: Elector, record: Record, address: str, leave: Leave) -> None:
        self._heard = ("", float("-inf"))
        if leave.why is Why.SNAPSHOT:
            await self._bootstrap(elector, record, address)
            return
        self._core.become("waiting", leave.detail)
        if leave.why is Why.LOST and await self._core.peers.refuses(address):
            announced = elector.view.announcements.get(record.primary.node)
            if announced is None or announced.uptime == record.uptime or announced.address == address:
                self._gone = {record.uptime: asyncio.get_running_loop().time()}
                return
        if leave.why is Why.FAULTY:
            log.error("node %s: the primary at %s: %s", self._core.node, address, leave.detail)
            await self._core.pause(elector, FAULTY_SECONDS)
        await self._core.pause(elector)

    async def _bootstrap(self, elector: Elector, record: Record, address: str) -> None:
        self._core.become("joining", "copying the database")
        for tell in self._core.on_copy:
            tell()
        replica = reigning.snapshot_source(record, elector.view, self._core.node) or address
        # A replica keeps its own log while it is copied from. Where the primary's turned out too short to go on
        # from such a copy, the next is the primary's: that one keeps what it needs to lead on.
        source = address if self._copied else replica
        for candidate in dict.fromkeys((source, address)):
            try:
                await bootstrap(self._core.disk, self._core.peers, candidate, record.cluster, record.history)
                self._copied = True
                break
            except (errors.TryAgain, errors.Rejected, Malformed) as error:
                log.warning("node %s: the copy from %s stopped: %s", self._core.node, candidate, error)
        else:
            await self._core.pause(elector, 0.5)
        await elector.announce(self._core.announcement())
