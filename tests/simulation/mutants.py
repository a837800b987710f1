"""Classic bugs of replication, planted in the simulated cluster one at a time.

Each must be found within a bounded number of seeds: a simulator that finds none of
them would prove nothing by finding nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, replace
from typing import Any

from springtide.coordinator.store import Refused, Swapped, View
from springtide.coordinator.topology import Record
from springtide.records import feed
from springtide.replica.divergence import Common
from springtide.replica.follower import Effect, Follower, Streaming
from springtide.testing.simulator.cluster import Parts
from springtide.testing.simulator.disk import SimEngine
from springtide.testing.simulator.store import SimStore, StoreServer


class SaysSoBeforeTheSync(SimEngine):
    """Entries count as durable when they are appended."""

    @property
    def durable(self) -> int:
        return self.last.lsn

    async def append(self, entries: Any) -> None:
        self._life.start(super().append(entries))


class CutsByLength(Follower):
    """A longer log is cut to the length of the primary's, whatever stands there."""

    def _welcomed(self, welcome: feed.Welcome) -> tuple[Effect, ...]:
        own = self._log.point(welcome.last.lsn)
        if own is None or own == welcome.last or welcome.epoch < self._promised:
            return super()._welcomed(welcome)
        effects = super()._welcomed(replace(welcome, last=own))
        self.phase.received = welcome.last  # type: ignore[union-attr]
        return tuple(
            replace(effect, message=feed.Copy(welcome.last)) if effect_copies(effect) else effect for effect in effects
        )


def effect_copies(effect: Any) -> bool:
    return isinstance(getattr(effect, "message", None), feed.Copy)


class CutsToItsCommitPoint(Follower):
    """What is not known here to be committed is cut, though the set may have committed it."""

    def _welcomed(self, welcome: feed.Welcome) -> tuple[Effect, ...]:
        effects = super()._welcomed(welcome)
        own = self._log.point(self._log.commit_lsn)
        if own is None or own.lsn < welcome.oldest.lsn or self.epoch != welcome.epoch:
            return effects
        promise = effects[:1] if welcome.epoch in (getattr(e, "epoch", 0) for e in effects[:1]) else ()
        return (*promise, *self._conclude(None, Common(own)))


class ForgetsEpochs(SimEngine):
    """No epoch is ever on the disk, so nothing can be refused for being older (``test_scripted`` shows it)."""

    async def promise(self, epoch: int) -> None:
        await self._disk_time()


class BeginsWithTheFirstView(SimStore):
    """A process that begins sees the oldest record for a while: more than ``Store.read`` allows.

    The epochs on the nodes' disks must be enough all the same.
    """

    _reads = 0

    async def read(self) -> View:
        view = await super().read()
        self._reads += 1
        if view.record is None:
            return view
        first: View = self._server.__dict__.setdefault("first", view)
        return replace(first, announcements={**view.announcements, **first.announcements}) if self._reads == 1 else view

    async def watch(self) -> AsyncIterator[View]:
        async for view in super().watch():
            await asyncio.sleep(2.0)
            yield view


class TakesInWithoutFiles(Follower):
    """Entries go into the log before the files that they name are there."""

    def _appendable(self, streaming: Streaming) -> tuple[Effect, ...]:
        for waiting in streaming.waiting:
            waiting.lacking.clear()
        return super()._appendable(streaming)


class PutsBlindly(StoreServer):
    """Swaps that compare nothing."""

    def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        return super().swap(record, self.revision)


@dataclass(frozen=True, slots=True)
class Mutant:
    name: str
    parts: Parts
    #: Seeds within which it is found.
    seeds: int


MUTANTS = [
    Mutant("acknowledged before it is durable", Parts(engine=SaysSoBeforeTheSync), 40),
    Mutant("truncation by length", Parts(follower=CutsByLength), 100),
    Mutant("truncation to the own commit point", Parts(follower=CutsToItsCommitPoint), 40),
    Mutant("entries without their files", Parts(follower=TakesInWithoutFiles), 40),
    Mutant("blind put of the record", Parts(store=PutsBlindly), 40),
    Mutant("no incarnations", Parts(incarnation=lambda node, disk: node), 40),
    Mutant("a restarted primary resumes its epoch", Parts(uptime=lambda node, run: node), 100),
]
