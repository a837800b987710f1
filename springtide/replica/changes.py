"""Changes of what is on disk, which nobody may leave half done."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


async def to_the_end(change: Coroutine[Any, Any, Any]) -> None:
    """Change what is on disk; a cancellation waits for it, for nothing may act on half of it."""
    task = asyncio.create_task(change)
    try:
        await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.gather(task, return_exceptions=True)  # a failed disk tells the node by itself
        raise
