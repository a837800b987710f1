"""Who leads and should not: elections, epochs, uptimes, incarnations, the record."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

from springtide.coordinator import election, topology
from springtide.coordinator.election import Me, NewIds
from springtide.coordinator.topology import Record
from springtide.node.as_primary import AsPrimary
from springtide.node.core import NodeCore
from springtide.replica.follower import Follower
from springtide.testing.simulator.disk import SimEngine
from springtide.testing.simulator.store import StoreServer
from tests.simulation.mutants.planting import NOTICED, PROMISES, STANDS_STILL, Bench, mutant
from tests.simulation.mutants.profiles import HANDING_OVER, SLOW_DISKS
from tests.simulation.mutants.stale import BeginsWithTheFirstView
from tests.simulation.mutants.stories import A_FOLLOWER_MEETS_A_DEPOSED_PRIMARY, THE_LAST_ONE_HAS_A_NEW_DISK


@mutant("2 and unclean_election (R5)")
def unclean_election(bench: Bench) -> None:
    """Any node may take over, in sync or not."""

    def stand(me: Me, record: Record, new: NewIds) -> Any:
        others = frozenset(member for member in record.in_sync if member.node != me.member.node)
        primary = me.member if record.primary.node == me.member.node else record.primary
        return original(me, replace(record, primary=primary, in_sync=others | {me.member}), new)

    original = bench.replace(election, "_stand", stand)


@mutant("16 and blind_put (R1)")
def blind_put_of_the_record(bench: Bench) -> None:
    """Swaps compare nothing."""

    def swap(self: Any, record: Record, expected_revision: int) -> Any:
        return original(self, record, self.revision)

    original = bench.replace(StoreServer, "swap", swap)


@mutant("17 and no_incarnations (R7)")
def no_incarnations(bench: Bench) -> None:
    """A node whose disk was lost comes back under the name of what it was."""
    bench.part(incarnation=lambda node, disk: node)


@mutant("20 and restarted_primary_resumes (R6)", budget=200)
def a_restarted_primary_resumes_its_epoch(bench: Bench) -> None:
    """All runs of a node have one name, so the record names the new one, too."""
    bench.part(uptime=lambda node, run: node)


@mutant("handed_over_reigns_after_restart (design, uptimes)", run=HANDING_OVER, budget=600)
def who_was_handed_the_role_reigns_after_a_restart(bench: Bench) -> None:
    """The epoch that a switchover made belongs to a node, not to one run of it."""
    handed: set[int] = set()

    def hand_over(record: Record, **rest: Any) -> Record:
        given: Record = hand_over_(record, **rest)
        handed.add(given.epoch)
        return given

    def decide(me: Me, view: Any, *rest: Any) -> Any:
        record = view.record
        if record is not None and record.epoch in handed and record.primary == me.member:
            return decide_(replace(me, uptime=record.uptime), view, *rest)
        return decide_(me, view, *rest)

    hand_over_ = bench.replace(topology, "hand_over", hand_over)
    decide_ = bench.replace(election, "decide", decide)


@mutant("lost_epoch_persisted (design, take over)", found=f"{STANDS_STILL}|{NOTICED}", budget=200)
def a_candidate_promises_an_epoch_that_it_may_not_get(bench: Bench) -> None:
    """Who stands writes the new epoch to its disk before it has it: where it loses, it fits to nobody any more."""

    async def swap(self: Any, elector: Any, record: Record, revision: int) -> None:
        await self.disk.promise(record.epoch)
        await original(self, elector, record, revision)

    original = bench.replace(NodeCore, "_swap", swap)


@mutant("1 (R5)", run=SLOW_DISKS)
def a_new_primary_cuts_what_it_does_not_know_to_be_committed(bench: Bench) -> None:
    """Who takes over trusts its own commit point, which is always a little old."""

    async def reign(self: Any, elector: Any, view: Any) -> None:
        disk = self._core.disk
        while disk.durable < disk.last.lsn:
            await asyncio.sleep(0.01)
        keep = disk.point(disk.commit_lsn)
        if keep is not None and keep != disk.last:
            await disk.cut(keep)
        await original(self, elector, view)

    original = bench.replace(AsPrimary, "reign", reign)


@mutant("21 (R5)")
def a_node_that_starts_cuts_to_its_stored_commit_point(bench: Bench) -> None:
    """What a node has applied is all that it believes of its log when it starts."""

    def init(self: Any, platter: Any, *rest: Any) -> None:
        del platter.entries[platter.applied - platter.base.lsn :]
        original(self, platter, *rest)
        self._witness.changed(platter.identity.node)

    original = bench.replace(SimEngine, "__init__", init)


@mutant("19 and no_epoch_check (R4)", run=A_FOLLOWER_MEETS_A_DEPOSED_PRIMARY, found=f"{PROMISES}|{NOTICED}", budget=20)
def no_epoch_check(bench: Bench) -> None:
    """A follower takes entries from a primary of an older epoch than it has seen."""
    bench.part(client_of_store=BeginsWithTheFirstView)
    bench.replace(election, "_not_ours", lambda me, record: None)
    bench.replace(Follower, "promised", lambda self, epoch: ())

    def init(self: Any, *rest: Any, **named: Any) -> None:
        original(self, *rest, **(named | {"promised": 0, "expected": 0}))

    original = bench.replace(Follower, "__init__", init)


@mutant("own history, seeds 30, 90, 100", run=THE_LAST_ONE_HAS_A_NEW_DISK, found=STANDS_STILL, budget=20)
def a_new_disk_is_a_new_one_at_every_start(bench: Bench) -> None:
    """The count of starts on a new disk is not raised to the store's: every start makes another incarnation."""

    async def renew(self: Any, starts: int = 0) -> None:
        await original(self, 0)

    original = bench.replace(SimEngine, "renew_incarnation", renew)
