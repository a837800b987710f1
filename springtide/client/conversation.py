"""An answer in many parts, of which the asking thread hears one after the other."""

from __future__ import annotations

import queue

from springtide.client.pending import Pending
from springtide.wire.v1 import session_pb2 as wire


class Conversation(Pending[object]):
    """Settled after the last part."""

    __slots__ = ("_parts",)

    def __init__(self) -> None:
        super().__init__()
        self._parts: queue.SimpleQueue[wire.PackProgress | None] = queue.SimpleQueue()

    def progress(self, progress: wire.PackProgress) -> None:
        self._parts.put(progress)

    def settle(self, answer: object) -> None:
        super().settle(answer)
        self._parts.put(None)

    def fail(self, error: Exception) -> None:
        super().fail(error)
        self._parts.put(None)

    def hear(self, seconds: float) -> wire.PackProgress | None:
        """The next part; None at the end. Raises TimeoutError, or what failed."""
        try:
            part = self._parts.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if part is None:
            self.wait(0)
        return part
