"""What a role sees of a stream: messages out, messages in, an end.

Roles know no gRPC. A node hands them streams as this Protocol: over gRPC in
production (``wire.streams``), over a virtual network in the simulator.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol, TypeVar

Out = TypeVar("Out", contravariant=True)
In = TypeVar("In", covariant=True)


class Duplex(Protocol[Out, In]):
    async def send(self, message: Out) -> None:
        """Hand over one message; waits while the other side is slow.

        Raises ``errors.Unreachable`` once the stream is broken.
        """

    async def receive(self) -> In | None:
        """The next message; None when the other side has ended the stream.

        Raises ``errors.Unreachable`` when the stream broke.
        """

    def close(self) -> None:
        """End this side. Waiting calls on this side end with ``errors.Unreachable``."""


async def first_of(*works: Coroutine[Any, Any, None]) -> None:
    """Do these at once until one of them ends; the others are cancelled, and an error of one is raised."""
    task: asyncio.Future[None] | None = None
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        # An error refers to this frame: without these it would be garbage in a circle, with all that its frames hold.
        tasks.clear()
        task = None
