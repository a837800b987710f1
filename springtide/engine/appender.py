"""The thread that writes the log: whatever waits is written together and synced once.

Requests are served in the order in which they were queued. Their answers go to
the loop, one call for all that were synced together.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from springtide import errors
from springtide.engine.decoding import decode_following
from springtide.engine.log import Log
from springtide.engine.values import MIB, Decoded
from springtide.records.entries import Entry, Malformed
from springtide.records.ids import Tid

T = TypeVar("T")

#: Those who wait share a sync, but nobody waits for more than this to be written with his own.
GROUP_BYTES_MAX = 32 * MIB


class Listener(Protocol):
    """Told on the loop, in the order in which things happened."""

    def synced(self, decoded: Sequence[Decoded]) -> None: ...
    def refused(self, generation: int, first_lsn: int) -> None: ...
    def failed(self, error: Exception) -> None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Append:
    """``generation`` tells requests made before a refusal was known from those made after it."""

    entries: tuple[Entry, ...]
    generation: int
    answer: asyncio.Future[None]

    @property
    def bytes(self) -> int:
        return sum(len(entry.body) for entry in self.entries)


@dataclass(frozen=True, slots=True, eq=False)
class Call:
    """Anything else that must not run while entries are being written."""

    function: Callable[[], None]


class Stop:
    pass


class Appender:
    """``newest`` is the tid of the last transaction in the log. Only what runs in the thread (``call``) sets it."""

    def __init__(self, log: Log, newest: Tid, listener: Listener, loop: asyncio.AbstractEventLoop) -> None:
        self._log = log
        self.newest = newest
        self._listener = listener
        self._loop = loop
        self._queue: queue.SimpleQueue[Append | Call | Stop] = queue.SimpleQueue()
        self._refused = -1  # the last generation in which something was malformed
        self._failure: Exception | None = None
        self._thread = threading.Thread(target=self._run, name="springtide-log", daemon=True)
        self._thread.start()

    def append(self, entries: Sequence[Entry], generation: int) -> asyncio.Future[None]:
        answer: asyncio.Future[None] = self._loop.create_future()
        self._queue.put(Append(tuple(entries), generation, answer))
        return answer

    def call(self, function: Callable[[], T]) -> asyncio.Future[T]:
        """Run ``function`` in the log thread, after what was queued before."""
        answer: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(Call(lambda: self._answer(answer, function)))
        return answer

    def stop(self) -> None:
        """Serve what is queued, then end. Blocks."""
        self._queue.put(Stop())
        self._thread.join()

    def rise(self, tid: Tid) -> None:
        """No transaction is at or below ``tid`` any more. For the thread."""
        self.newest = max(self.newest, tid)

    # -- in the thread ---------------------------------------------------------------------------

    def _run(self) -> None:
        request = self._queue.get()
        while not isinstance(request, Stop):
            if isinstance(request, Call):
                request.function()
                following = None
            else:
                following = self._serve(request)
            del request  # while nothing comes, what was written is kept by nobody here
            request = following if following is not None else self._queue.get()

    def _serve(self, request: Append) -> Append | Call | Stop | None:
        """Write it, and what waits behind it; what was taken from the queue and is still to be served."""
        group, following = self._group(request)
        self._append(group)
        return following

    def _group(self, first: Append) -> tuple[list[Append], Append | Call | Stop | None]:
        """Everything that waits, up to a bound; and what was taken and is not part of it."""
        group, size = [first], first.bytes
        while size < GROUP_BYTES_MAX:
            try:
                request = self._queue.get_nowait()
            except queue.Empty:
                break
            if not isinstance(request, Append):
                return group, request
            group.append(request)
            size += request.bytes
        return group, None

    def _append(self, group: list[Append]) -> None:
        admitted: list[Append] = []
        decoded: list[Decoded] = []
        for request in group:
            try:
                decoded += self._decode(request)
                admitted.append(request)
            except Malformed as error:
                self._refuse(request, error)
        if not admitted:
            return
        try:
            if self._failure is not None:
                raise errors.DiskFailed(f"the log is closed after a failure: {self._failure}") from self._failure
            self._log.write([d.entry for d in decoded])
        except Exception as error:
            self._failure = self._failure or error
            self._tell(_fail, admitted, error, self._listener)
            return
        self._tell(_succeed, admitted, decoded, self._listener)

    def _decode(self, request: Append) -> list[Decoded]:
        if request.generation <= self._refused:
            raise Malformed("this entry follows one that was refused")
        decoded, self.newest = decode_following(request.entries, self.newest)
        return decoded

    def _refuse(self, request: Append, error: Malformed) -> None:
        if request.generation > self._refused:
            self._refused = request.generation
            self._tell(self._listener.refused, request.generation, request.entries[0].lsn)
        self._tell(_set_exception, request.answer, error)

    def _answer(self, answer: asyncio.Future[T], function: Callable[[], T]) -> None:
        try:
            result = function()
        except Exception as error:
            if isinstance(error, errors.OperatorError):
                self._tell(self._listener.failed, error)
            self._tell(_set_exception, answer, error)
        else:
            self._tell(_set_result, answer, result)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


# -- on the loop ---------------------------------------------------------------------------------


def _succeed(group: list[Append], decoded: list[Decoded], listener: Listener) -> None:
    listener.synced(decoded)
    for request in group:
        _set_result(request.answer, None)


def _fail(group: list[Append], error: Exception, listener: Listener) -> None:
    listener.failed(error)
    for request in group:
        _set_exception(request.answer, error)


def _set_result(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _set_exception(answer: asyncio.Future[T], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
