"""An answer that one thread will bring and others wait for."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

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
