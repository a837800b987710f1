"""The thread that applies committed entries to the state, in order.

What waits is applied together, in one synced transaction; a large transaction is
applied in slices, the applied point last.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol, TypeVar

import lmdb

from springtide.engine.overlay import Overlay
from springtide.engine.state import State
from springtide.engine.sweeping import Swept
from springtide.engine.translation import translated
from springtide.engine.values import Decoded, EngineOptions
from springtide.records.blobs import Named, names_in
from springtide.records.entries import Malformed, Write
from springtide.records.ids import Oid, Tid
from springtide.records.packed import sizes_of
from springtide.records.packs import PackStep

T = TypeVar("T")

#: Readers that died are looked for once in so many batches.
_BATCHES_BETWEEN_CHECKS = 1_000


class Listener(Protocol):
    """Told on the loop."""

    def swept(self, swept: Swept) -> None: ...
    def applied_through(self, lsn: int) -> None: ...
    def failed(self, error: Exception) -> None: ...


class Applier:
    """``state`` may be replaced by a function that runs in the thread (``call``)."""

    def __init__(
        self,
        state: State,
        overlay: Overlay,
        options: EngineOptions,
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        place: Callable[[Named], None],
        remove: Callable[[Oid, Tid], None],
    ) -> None:
        """``place`` gives a file its place before the row that names it is there, ``remove`` takes it after."""
        self._remove = remove
        self.state = state
        self._place = place
        self._overlay = overlay
        self._options = options
        self._listener = listener
        self._loop = loop
        self._failure: Exception | None = None
        self._stopping = False
        self._held: list[Decoded] = []
        self._held_writes = self._held_bytes = 0
        self._timer: asyncio.TimerHandle | None = None
        self._queue: queue.SimpleQueue[Sequence[Decoded] | Callable[[], None] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="springtide-apply", daemon=True)
        self._thread.start()

    # -- on the loop ---------------------------------------------------------------------------------

    def apply(self, committed: Sequence[Decoded]) -> None:
        """Apply entries that follow all that came before, in a moment: others share their sync until then."""
        self._held += committed
        writes, size = _weight(committed)
        self._held_writes, self._held_bytes = self._held_writes + writes, self._held_bytes + size
        if self._held_writes >= self._options.slice_writes or self._held_bytes >= self._options.slice_bytes:
            self.hurry()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._options.apply_delay_seconds, self.hurry)

    def hurry(self) -> None:
        """Apply what came so far now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._held:
            self._queue.put(self._held)
            self._held, self._held_writes, self._held_bytes = [], 0, 0

    def call(self, function: Callable[[State], T]) -> asyncio.Future[T]:
        """Run ``function`` in the thread, after what came before."""
        self.hurry()
        answer: asyncio.Future[T] = self._loop.create_future()
        self._queue.put(lambda: self._answer(answer, function))
        return answer

    def stop(self) -> None:
        """End after the batch at hand. Blocks. What was not applied is applied after the next start."""
        self._stopping = True
        self._queue.put(None)
        self._thread.join()

    # -- in the thread -----------------------------------------------------------------------------

    def _run(self) -> None:
        batches = 0
        while (item := self._queue.get()) is not None:
            if callable(item):
                item()
                continue
            following, more = self._serve(item)
            item = None  # while nothing comes, what was applied is kept by nobody here
            batches += 1
            if batches % _BATCHES_BETWEEN_CHECKS == 0:
                self.state.reader_check()
            if following is not None:
                following()
            if not more:
                return

    def _serve(self, first: Sequence[Decoded]) -> tuple[Callable[[], None] | None, bool]:
        """Apply it, and what waits behind it; a call that was met; whether to go on."""
        waiting, following, more = self._drain(first)
        self._apply_all(waiting)
        return following, more

    def _drain(self, first: Sequence[Decoded]) -> tuple[list[Decoded], Callable[[], None] | None, bool]:
        """All that waits, up to the size of a batch; a call that was met; whether to go on."""
        waiting = list(first)
        writes, size = _weight(waiting)
        while writes < self._options.slice_writes and size < self._options.slice_bytes:
            try:
                item = self._queue.get_nowait()
            except queue.Empty:
                break
            if item is None or callable(item):
                return waiting, item, item is not None
            waiting += item
            more_writes, more_size = _weight(item)
            writes, size = writes + more_writes, size + more_size
        return waiting, None, True

    def _apply_all(self, waiting: list[Decoded]) -> None:
        try:
            for batch in self._batches(waiting):
                if self._failure is not None or self._stopping:
                    return
                self._apply(batch)
                self._overlay.remove(batch)
                self._tell(self._listener.applied_through, batch[-1].lsn)
        except Exception as error:
            self._fail(error)

    def _apply(self, batch: Sequence[Decoded]) -> None:
        for one in batch:
            for named in names_in(one.entry):
                self._place(named)
        if not self._is_large(batch[0]):
            swept = self.state.apply(batch)
            for oid, tid, _ in swept.blobs:
                self._remove(oid, tid)  # where this is cut short, the scrub after the next start finds them
            if swept.packs:
                self._tell(self._listener.swept, swept)
            return
        (decoded,) = batch
        assert decoded.transaction is not None, "only transactions are large"
        for start, stop in self._slices(decoded.transaction.writes):
            if self._stopping:
                raise _Stopped
            self.state.apply_slice(decoded, start, stop)
        self.state.apply_rest(decoded)

    def _batches(self, waiting: Sequence[Decoded]) -> Iterator[Sequence[Decoded]]:
        batch: list[Decoded] = []
        writes = size = 0
        for decoded in waiting:
            if self._is_large(decoded):
                if batch:
                    yield batch
                yield (decoded,)
                batch, writes, size = [], 0, 0
                continue
            batch.append(decoded)
            more_writes, more_size = _weight((decoded,))
            writes, size = writes + more_writes, size + more_size
            if writes >= self._options.slice_writes or size >= self._options.slice_bytes:
                yield batch
                batch, writes, size = [], 0, 0
        if batch:
            yield batch

    def _is_large(self, decoded: Decoded) -> bool:
        writes, size = _weight((decoded,))
        large = writes > self._options.slice_writes or (writes > 1 and size > self._options.slice_bytes)
        return large and decoded.transaction is not None

    def _slices(self, writes: Sequence[Write]) -> Iterator[tuple[int, int]]:
        start = size = 0
        for at, bytes_ in enumerate(sizes_of(writes)):
            size += bytes_
            if at + 1 - start >= self._options.slice_writes or size >= self._options.slice_bytes:
                yield start, at + 1
                start, size = at + 1, 0
        if start < len(writes):
            yield start, len(writes)

    def _answer(self, answer: asyncio.Future[T], function: Callable[[State], T]) -> None:
        try:
            if self._failure is not None:
                raise self._failure
            result = function(self.state)
        except Malformed as error:
            self._tell(_set_exception, answer, error)
        except Exception as error:
            self._fail(error)
            self._tell(_set_exception, answer, self._failure or error)
        else:
            self._tell(_set_result, answer, result)

    def _fail(self, error: Exception) -> None:
        if isinstance(error, _Stopped):
            return
        failure = translated(error, "applying") if isinstance(error, lmdb.Error) else error
        if self._failure is None:
            self._failure = failure
            self._tell(self._listener.failed, failure)

    def _tell(self, function: Callable[..., None], *arguments: object) -> None:
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)


class _Stopped(Exception):
    pass


def _weight(entries: Sequence[Decoded]) -> tuple[int, int]:
    writes = sum(len(d.transaction.writes) for d in entries if d.transaction is not None)
    writes += sum(d.pack.revisions for d in entries if isinstance(d.pack, PackStep))
    return writes, sum(len(d.entry.body) for d in entries)


def _set_result(answer: asyncio.Future[T], result: T) -> None:
    if not answer.done():
        answer.set_result(result)


def _set_exception(answer: asyncio.Future[T], error: Exception) -> None:
    if not answer.done():
        answer.set_exception(error)
