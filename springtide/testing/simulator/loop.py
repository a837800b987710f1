"""An asyncio event loop whose clock moves only when nothing is left to do.

Ten virtual minutes cost what the work in them costs. There are no sockets and no
threads; what asks for a thread is done at once. Tasks and timers belong to the
``Life`` (one run of one node's process) that made them: a paused life's wait until
it goes on, as they do when a process is stopped.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import traceback
from asyncio import events
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class Stuck(Exception):
    """Everybody waits, and for nothing that will come."""


class Life:
    """One run of one process: what it started stops with it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.over = False
        self._paused = False
        self._waiting: list[events.Handle] = []

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self) -> None:
        self._paused = True

    def resume(self, loop: VirtualLoop) -> None:
        self._paused = False
        waiting, self._waiting = self._waiting, []
        loop.ready_again(waiting)

    def defer(self, handle: events.Handle) -> None:
        self._waiting.append(handle)

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` as a part of this life, with all that it starts."""
        context = contextvars.copy_context()
        context.run(_LIFE.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)


_LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)


class _Handle(events.Handle):
    def _run(self) -> None:
        if not _deferred(self):
            super()._run()


class _TimerHandle(events.TimerHandle):
    _scheduled: bool

    def _run(self) -> None:
        if not _deferred(self):
            super()._run()


def _deferred(handle: Any) -> bool:
    life = handle._context.get(_LIFE)
    if life is None or not life.paused:
        return False
    life.defer(handle)
    return True


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    _made = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _Task._made += 1
        self._number = _Task._made
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number

    def __eq__(self, other: object) -> bool:
        return self is other


class VirtualLoop(asyncio.BaseEventLoop):
    _ready: deque[events.Handle]
    _scheduled: list[asyncio.TimerHandle]

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._clock_resolution = 1e-9
        self._selector = self
        #: Errors that nobody caught: a simulation that meets one has failed.
        self.uncaught: list[str] = []
        self.set_task_factory(lambda loop, coro, **options: _Task(coro, loop=loop, **options))
        self.set_exception_handler(lambda loop, context: self._caught_by_nobody(context))
        _Task._made = 0

    def time(self) -> float:
        return self._now

    def select(self, timeout: float | None) -> list[Any]:
        """Instead of waiting for a file: move the clock to the next timer."""
        if timeout is None:
            raise Stuck("nothing is ready and no timer is set")
        if timeout > 0:
            self._now = max(self._now, self._scheduled[0].when())
        return []

    def ready_again(self, handles: list[events.Handle]) -> None:
        self._ready.extend(handle for handle in handles if not handle.cancelled())

    def call_at(
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> asyncio.TimerHandle:
        timer = _TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._scheduled, timer)
        timer._scheduled = True
        return timer

    def _call_soon(
        self, callback: Callable[..., object], args: tuple[Any, ...], context: contextvars.Context | None
    ) -> events.Handle:
        handle = _Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    def run_in_executor(self, executor: Any, func: Callable[[*Ts], T], *args: *Ts) -> asyncio.Future[T]:
        future: asyncio.Future[T] = self.create_future()
        try:
            future.set_result(func(*args))
        except Exception as error:
            future.set_exception(error)
        return future

    def _caught_by_nobody(self, context: dict[str, Any]) -> None:
        error = context.get("exception")
        if error is None:
            return  # a task that nobody waits for any more, of a process that is gone
        about = context.get("task") or context.get("future") or context.get("handle")
        where = "".join(traceback.format_exception(error))
        self.uncaught.append(f"{context.get('message')} {about!r}\n{where}")

    def _process_events(self, event_list: list[Any]) -> None:
        assert not event_list

    def _write_to_self(self) -> None:
        """Nothing sleeps, so nothing is to be woken."""


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` to its end on a fresh virtual loop."""
    loop = VirtualLoop()
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main())
    finally:
        for error in loop.uncaught:
            raise AssertionError(error)
