"""Reads that this node cannot answer yet, because a client has seen more than it has."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from springtide import errors
from springtide.records.ids import Tid

if TYPE_CHECKING:
    from springtide.node.core import NodeCore


class CatchingUp:
    def __init__(self, core: NodeCore) -> None:
        self._core = core
        self._waiters: dict[asyncio.Future[None], Tid] = {}

    async def until(self, floor: Tid, seconds: float) -> None:
        """Wait until the commit point here covers ``floor``; NotCaughtUp after ``seconds``."""
        loop, core = asyncio.get_running_loop(), self._core
        deadline = loop.time() + seconds
        while floor > core.disk.commit_tid or not core.disk.complete or not core.cluster:
            left = deadline - loop.time()
            if left <= 0:
                raise errors.NotCaughtUp(
                    f"node {core.node} has the commits up to {core.disk.commit_tid.hex()}, asked for {floor.hex()}"
                    if core.disk.complete
                    else f"node {core.node} is still copying the database"
                )
            waiter = loop.create_future()
            self._waiters[waiter] = floor
            try:
                await asyncio.wait((waiter,), timeout=min(left, 0.1))
            finally:
                waiter.cancel()
                self._waiters.pop(waiter, None)

    def committed(self) -> None:
        """The commit point moved."""
        now = self._core.disk.commit_tid if self._waiters else None
        for waiter, floor in self._waiters.items():
            if now is not None and floor <= now and not waiter.done():
                waiter.set_result(None)
