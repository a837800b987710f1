"""A node as primary: reigning, changing the in-sync set, handing over."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

from springtide import errors
from springtide.coordinator import membership, topology
from springtide.coordinator.elector import Elector
from springtide.coordinator.membership import Membership
from springtide.coordinator.store import Announcement, View
from springtide.coordinator.topology import Record
from springtide.node import borrowing, reigning
from springtide.primary import forgetting
from springtide.primary.reign import Reign
from springtide.records.blobs import Named
from springtide.records.ids import Member, NodeId

if TYPE_CHECKING:
    from springtide.node.core import NodeCore

log = logging.getLogger(__name__)


class AsPrimary:
    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._changing = asyncio.Lock()
        self._switching: asyncio.Task[None] | None = None
        self._handing: asyncio.Task[None] | None = None
        #: What operators want changed: none of it outlives the reign that began it.
        self._operating: set[asyncio.Task[Record]] = set()
        self._probes: dict[Member, asyncio.Task[bool]] = {}

    async def reign(self, elector: Elector, view: View) -> None:
        """Reign from the record in ``view`` until it names another."""
        core, disk = self._core, self._core.disk
        assert view.record is not None
        record = view.record
        if (record.primary, record.uptime) != (core.me, core.uptime) or disk.identity.promised > record.epoch:
            raise errors.Broken("I4", f"{core.me} would reign in epoch {record.epoch}, which is not its own")
        await disk.promise(record.epoch)
        if (core.cluster, core.history) != (record.cluster, record.history):
            await disk.adopt(record.cluster, record.history)
            core.history_adopted()
        members = core.membership = Membership(record, view.revision)
        reign = core.reign = Reign(
            disk,
            core.me,
            record.epoch,
            core.uptime,
            members.required,
            members.minimum,
            core.settings.reign,
            core.wall,
            core.committed,
            core.open_marker,
        )
        reign.borrow = self._borrow
        reign.packing.start_resuming()
        forgets = asyncio.ensure_future(forgetting.run(reign, reign.settings.outcomes_kept_seconds, core.wall))
        if core.settings.retention is not None:
            reign.packing.start_retaining(core.settings.retention, core.wall)
        core.become("primary", f"epoch {record.epoch}")
        began = now = asyncio.get_running_loop().time()
        changing: asyncio.Task[None] | None = None
        try:
            while not reign.ended.done():
                members.saw(elector.view)
                if members.deposed_by is not None:
                    reign.end(f"epoch {members.deposed_by.epoch} of {members.deposed_by.primary.node} has begun")
                    return
                reign.require(members.required, members.minimum)
                now, late = self._loop_time(now)
                why = reign.obstacle(now)
                core.note = f"epoch {record.epoch}" + (f"; commits wait: {why}" if why else "")
                core.note += f"; {reign.alarm}" if reign.alarm else ""
                reign.drop_hanging(now)
                self._probe_lost(elector, reign, members)
                # With the store out of reach a change would stay open, and make commits wait for more nodes than
                # now. After a pause of this process, what the others said meanwhile is heard first.
                idle = (changing is None or changing.done()) and not self._changing.locked() and not late
                if idle and members.settled and elector.store_reachable:
                    change = reigning.wanted_change(reign, members, elector.view, began, now, core.fresh())
                    if change is not None:
                        log.info("node %s: in-sync set: %s", core.node, reigning.describe(change))
                        changing = asyncio.ensure_future(self._change(elector, reign, members, change))
                await self._pause_reign(elector, reign)
        finally:
            reign.end("it left the role")
            begun = [
                task
                for task in (changing, forgets, self._handing, *self._operating, *self._probes.values())
                if task is not None
            ]
            for task in begun:
                task.cancel()
            await asyncio.gather(*begun, return_exceptions=True)
            await reign.packing.end()
            self._handing = None
            self._probes.clear()
            core.reign, core.membership = None, None
            if members.deposed_by is None:
                # The record may still name this run, and may yet change by a swap of this reign: like a
                # restarted process, this node leads again only in a new epoch.
                await core.renew_uptime()
            core.become("waiting", str(reign.ended.result()))
            for tell in core.on_reign_ended:
                tell()
        if reign.failure is not None:
            raise reign.failure

    def _loop_time(self, before: float) -> tuple[float, bool]:
        """The time, and whether this loop was held up since ``before`` for long enough to have missed something."""
        now = asyncio.get_running_loop().time()
        settings = self._core.settings.reign
        return now, now - before > settings.heartbeat_seconds / 2 + settings.stall_seconds / 2

    async def _borrow(self, names: Sequence[Named]) -> None:
        core = self._core
        addresses = [node.address for node in core.topology().nodes if node.id != core.node]
        await borrowing.borrow(core.disk, core.peers, addresses, core.cluster, names)

    def _probe_lost(self, elector: Elector, reign: Reign, members: Membership) -> None:
        """A member whose feed broke may be back in a moment; if its port refuses, its process is gone."""
        lost = {m for m in members.record.in_sync if m in reign.lost and m not in reign.followers}
        for member in sorted(lost - self._probes.keys()):
            announced = elector.view.announcements.get(member.node)
            if announced is not None and announced.member == member:
                probe = asyncio.ensure_future(self._core.peers.refuses(announced.address))
                probe.add_done_callback(partial(self._probed, reign, member))
                self._probes[member] = probe
        for member in [m for m, probe in self._probes.items() if probe.done() or m not in lost]:
            self._probes.pop(member).cancel()

    @staticmethod
    def _probed(reign: Reign, member: Member, probe: asyncio.Task[bool]) -> None:
        if not probe.cancelled() and probe.exception() is None and probe.result() and member in reign.lost:
            reign.lost[member] = float("-inf")

    async def _pause_reign(self, elector: Elector, reign: Reign) -> None:
        view = elector.view
        changed = asyncio.ensure_future(elector.until(lambda: elector.view is not view))
        try:
            await asyncio.wait(
                (changed, reign.ended),
                timeout=self._core.settings.reign.heartbeat_seconds / 2,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            changed.cancel()
            await asyncio.gather(changed, return_exceptions=True)
        if elector.view is not view:
            self._core.topology_changed()

    async def _change(self, elector: Elector, reign: Reign, members: Membership, record: Record) -> None:
        """Swap ``record`` in; ends when it is known what became of it."""
        async with self._changing:
            if members.settled and not reign.ended.done():
                await self._settle(elector, reign, members, record)

    async def _settle(self, elector: Elector, reign: Reign, members: Membership, record: Record) -> None:
        """Swap ``record`` in; ends when it is known what became of it."""
        members.propose(record)
        while True:
            reign.require(members.required, members.minimum)
            try:
                members.answered(await elector.swap(record, members.revision))
            except errors.SpringtideError as error:
                log.warning("node %s: a change of the record is not settled: %s", self._core.node, error)
                members.answered(membership.Unknown())
            if members.deposed_by is None:
                reign.require(members.required, members.minimum)
            if members.unanswered is None:
                break
            await self._core.pause(elector, 0.25)
            members.saw(elector.view)
            if members.unanswered is None:
                break
            record = members.again(self._core.fresh())
        self._core.topology_changed()

    async def change(self, make: Callable[[Record], Record], seconds: float = 10.0) -> Record:
        """A change that an operator wants. Returns the record with it.

        Raises NotPrimary, topology.Refusal, or Unreachable where it did not happen in time: it may happen yet.
        """
        core = self._core
        reign, members, elector = core.reign, core.membership, core.elector
        if reign is None or members is None or elector is None:
            raise core.not_primary()
        if not elector.store_reachable:
            raise errors.Unreachable("the coordinator does not answer, so its record cannot change now")
        changing = asyncio.ensure_future(self._made(elector, reign, members, make))
        self._operating.add(changing)
        changing.add_done_callback(self._operating.discard)
        changing.add_done_callback(lambda done: done.cancelled() or done.exception())
        done, _ = await asyncio.wait((changing,), timeout=seconds)
        if not done:
            raise errors.Unreachable("the coordinator does not say whether its record has changed: see the status")
        if changing.cancelled():
            raise core.not_primary()
        return changing.result()

    async def _made(
        self, elector: Elector, reign: Reign, members: Membership, make: Callable[[Record], Record]
    ) -> Record:
        async with self._changing:
            reign.check_leading()
            if not members.settled:
                raise self._core.not_primary()
            before = members.record.in_sync
            record = make(members.record)
            await self._settle(elector, reign, members, record)
            for removed in before - members.record.in_sync:
                reign.drop_follower(removed)
        now = members.deposed_by or members.record
        if (now.minimum, now.in_sync) != (record.minimum, record.in_sync):
            raise errors.Unreachable("the record changed in another way meanwhile: look, and try again")
        return now

    # -- handing over ---------------------------------------------------------------------------

    async def hand_over(self, to: NodeId | None, seconds: float = 5.0) -> Record:
        """Switchover. Returns the record that names the new primary.

        Raises NotPrimary, BadRequest (no such in-sync node) or Unreachable (did not happen in time).
        """
        core = self._core
        reign, members, elector = core.reign, core.membership, core.elector
        if reign is None or members is None or elector is None:
            raise core.not_primary()
        if not elector.store_reachable:
            raise errors.Unreachable("the coordinator does not answer, so the role cannot change hands now")
        if self._switching is not None and not self._switching.done():
            raise errors.BadRequest(f"node {core.node} is handing over already")
        target = reigning.successor(reign, members, elector.view, to)
        switch = self._switching = asyncio.ensure_future(self._switch(elector, reign, members, target, seconds))
        switch.add_done_callback(lambda done: done.cancelled() or done.exception())  # also where nobody waits any more
        await asyncio.wait((switch,))
        if members.deposed_by is not None:
            return members.deposed_by
        why = switch.exception() if not switch.cancelled() else None
        because = f": {why}" if why is not None and str(why) else ""
        raise errors.Unreachable(f"{target.node} did not take over from {core.node} within {seconds:g} s{because}")

    async def _switch(
        self, elector: Elector, reign: Reign, members: Membership, target: Announcement, seconds: float
    ) -> None:
        try:
            async with asyncio.timeout(seconds):
                await reign.quiesce(target.member)
                while not members.settled:
                    reign.check_leading()
                    await self._core.pause(elector)
                record = topology.hand_over(
                    members.record,
                    target=target.member,
                    target_uptime=target.uptime,
                    acked=reign.commits.acked(target.member),
                    log_end=reign.last.lsn,
                    change=self._core.fresh(),
                )
                # Not cancelled with this: once the swap is sent, it must become known what became of it.
                change = self._handing = asyncio.ensure_future(self._change(elector, reign, members, record))
                await asyncio.shield(change)
        finally:
            # Where it is not known whether the hand-over landed, appending goes on all the same: what is
            # committed needs the target's acknowledgement, so the target has it when it begins to reign.
            if members.deposed_by is None:
                reign.resume()
