"""What a follower has to say and the stream has not taken yet: bounded, and without what later messages say as well."""

from __future__ import annotations

import asyncio
from collections import deque

from springtide.records.feed import Ack, Downward, Held, Upward
from springtide.wire.ports import Duplex


class Full(Exception):
    """The primary takes nothing."""


class Outbox:
    def __init__(self, messages_max: int) -> None:
        self._messages_max = messages_max
        self._unsent: deque[Upward] = deque()
        self._to_send = asyncio.Event()

    def put(self, message: Upward) -> None:
        """Raises ``Full``."""
        former = self._unsent[-1] if self._unsent else None
        if isinstance(message, Ack) and isinstance(former, Ack):
            self._unsent.pop()  # the later one says more
        if isinstance(message, Held) and isinstance(former, Held):
            self._unsent.pop()
            message = Held(former.ids + message.ids)
        if len(self._unsent) >= self._messages_max:
            raise Full(f"the primary took none of {len(self._unsent)} messages")
        self._unsent.append(message)
        self._to_send.set()

    def clear(self) -> None:
        """What was not sent is not said any more."""
        self._unsent.clear()

    async def send(self, stream: Duplex[Upward, Downward]) -> None:
        """Until cancelled."""
        while True:
            while self._unsent:
                await stream.send(self._unsent.popleft())
            self._to_send.clear()
            await self._to_send.wait()
