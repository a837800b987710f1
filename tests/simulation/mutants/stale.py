"""A store that shows old records, and a disk that keeps no epoch, for the stories of ``test_scripted``."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace

from springtide.coordinator.store import View
from springtide.testing.simulator.disk import SimEngine
from springtide.testing.simulator.store import SimStore


class ForgetsEpochs(SimEngine):
    """No epoch is ever on the disk, so nothing can be refused for being older."""

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
