"""Waiting for a condition on one event loop, without a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Signal:
    """Whoever changes something calls ``notify``; whoever waits looks again."""

    def __init__(self) -> None:
        self._waiting: list[asyncio.Future[None]] = []

    def notify(self) -> None:
        waiting, self._waiting = self._waiting, []
        for future in waiting:
            if not future.done():
                future.set_result(None)

    async def wait(self) -> None:
        """Until the next ``notify``."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        await future

    async def until(self, condition: Callable[[], bool]) -> None:
        """Until ``condition`` holds; it is looked at now and after every ``notify``."""
        while not condition():
            await self.wait()
