"""An answer that one thread will bring and others wait for; some come in many messages."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any, Generic, TypeVar

from springtide.wire.v1 import session_pb2 as wire

T = TypeVar("T")


class Pending(Generic[T]):
    """Settled at most once. A bare lock, because every load makes one of these."""

    __slots__ = ("_answer", "_error", "_unsettled")

    def __init__(self) -> None:
        self._unsettled = threading.Lock()
        self._unsettled.acquire()
        self._answer: T
        self._error: Exception | None = None

    def settle(self, answer: T) -> None:
        self._answer = answer
        self._unsettled.release()

    def fail(self, error: Exception) -> None:
        self._error = error
        self._unsettled.release()

    def wait(self, seconds: float | None) -> T:
        """The answer, or what failed; TimeoutError if neither came in time."""
        if not self._unsettled.acquire(timeout=-1 if seconds is None else max(0.0, seconds)):
            raise TimeoutError
        self._unsettled.release()
        if self._error is not None:
            raise self._error
        return self._answer


class Gathering(Pending[wire.Done]):
    """Keeps all messages of an answer until its end."""

    __slots__ = ("parts",)

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[Any] = []


class Prefetching(Pending[Any]):
    """Waits for the end of an answer of many records, each of which goes to the listener."""

    __slots__ = ("_ended",)

    def __init__(self, ended: Callable[[], None]) -> None:
        super().__init__()
        self._ended = ended

    def settle(self, answer: Any) -> None:
        super().settle(answer)
        self._ended()

    def fail(self, error: Exception) -> None:
        super().fail(error)
        self._ended()
