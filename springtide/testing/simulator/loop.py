"""An asyncio event loop whose clock moves only when nothing is left to do.

Ten virtual minutes cost what the work in them costs. There are no sockets and no
threads; what asks for a thread is done at once. Tasks and timers belong to the
``Life`` (one run of one node's process) that made them: a paused life's wait until
it goes on, as they do when a process is stopped, and each life has a clock of its
own, which may go too fast or too slowly.
"""

from __future__ import annotations

import asyncio
import contextvars
import heapq
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar, TypeVarTuple

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


#: So often the loop goes round in one moment before it is taken to go round for ever.
ROUNDS_MAX = 20_000
#: No timer fires at once: what is left of a timeout may be less than a clock can show, and then time must go on.
TICK_SECONDS = 1e-9


class Stuck(Exception):
    """Everybody waits, and for nothing that will come; or nobody ever waits."""


class Life:
    """One run of one process: what it started stops with it."""

    def __init__(self, name: str, rate: float = 1.0, at: float = 0.0) -> None:
        """Its clock is at ``at`` with everybody's, and goes ``rate`` times as fast from there."""
        self.name = name
        self.over = False
        #: The clock shows ``_base + rate * (now - _since)``.
        self.rate = rate
        self._base = self._since = at
        #: It has always shown everybody's time.
        self.true = rate == 1.0
        self._paused = False
        self._waiting: list[_Handle] = []

    @property
    def paused(self) -> bool:
        return self._paused

    def pause(self, loop: VirtualLoop) -> None:
        if not self._paused:
            self._paused = True
            loop.paused += 1

    def resume(self, loop: VirtualLoop) -> None:
        if self._paused:
            self._paused = False
            loop.paused -= 1
        waiting, self._waiting = self._waiting, []
        loop.ready_again(waiting)

    def defer(self, handle: _Handle) -> None:
        self._waiting.append(handle)

    def clock(self, now: float) -> float:
        return self._base + self.rate * (now - self._since)

    def when(self, clock: float) -> float:
        """Everybody's time when this clock will show ``clock``."""
        return self._since + (clock - self._base) / self.rate

    def drift(self, rate: float, now: float) -> None:
        """From now on the clock goes at this rate."""
        self._base, self._since, self.rate = self.clock(now), now, rate
        self.true = self.true and rate == 1.0

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run ``work`` as a part of this life, with all that it starts."""
        context = contextvars.copy_context()
        context.run(_LIFE.set, self)
        return asyncio.get_running_loop().create_task(work, context=context)


_LIFE: contextvars.ContextVar[Life | None] = contextvars.ContextVar("life", default=None)
_life_now = _LIFE.get


class _Handle:
    """What asyncio needs of its own handles. ``_when`` is by the clock of whoever asked."""

    __slots__ = ("_args", "_callback", "_cancelled", "_context", "_when")

    def __init__(self, callback: Any, args: Any, context: Any, when: float) -> None:
        self._callback, self._args, self._when = callback, args, when
        self._context = context if context is not None else contextvars.copy_context()
        self._cancelled = False

    def cancel(self) -> None:
        self._cancelled = True
        self._callback = self._args = None

    def cancelled(self) -> bool:
        return self._cancelled

    def when(self) -> float:
        return self._when

    def __repr__(self) -> str:
        return f"<{self._callback} {self._args}>"


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on where it lies in memory."""

    _made = 0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        _Task._made += 1
        self._number = _Task._made
        super().__init__(*args, **kwargs)

    def __hash__(self) -> int:
        return self._number


class VirtualLoop(asyncio.BaseEventLoop):
    #: (when, number, handle): of two timers of one moment the one that was set first comes first.
    _scheduled: list[tuple[float, int, _Handle]]
    _ready: deque[_Handle]
    _stopping: bool

    def __init__(self) -> None:
        super().__init__()
        self._now = 0.0
        self._timers = 0
        self._selector = self
        self._rounds = 0
        self._nobody = contextvars.Context()
        #: How many lives are paused.
        self.paused = 0
        #: Errors that nobody caught: a simulation that meets one has failed.
        self.uncaught: list[str] = []
        self.set_task_factory(lambda loop, coro, **options: _Task(coro, loop=loop, **options))
        self.set_exception_handler(lambda loop, context: self._caught_by_nobody(context))
        _Task._made = 0

    @property
    def now(self) -> float:
        """By nobody's clock."""
        return self._now

    def time(self) -> float:
        life = _life_now()
        return self._now if life is None or life.true else life.clock(self._now)

    def _run_once(self) -> None:
        ready, scheduled = self._ready, self._scheduled
        if not ready:
            while scheduled and scheduled[0][2]._cancelled:
                heapq.heappop(scheduled)
            if not scheduled and not self._stopping:
                raise Stuck("nothing is ready and no timer is set")
            if scheduled and scheduled[0][0] > self._now:
                self._now = scheduled[0][0]
                self._rounds = 0
        now = self._now
        self._rounds += 1
        if self._rounds > ROUNDS_MAX:
            raise Stuck(f"at {now} s there is always something more to do: {ready}")
        while scheduled and scheduled[0][0] <= now:
            handle = heapq.heappop(scheduled)[2]
            if not handle._cancelled:
                ready.append(handle)
        for _ in range(len(ready)):
            handle = ready.popleft()
            if handle._cancelled or (self.paused and self._deferred(handle)):
                continue
            try:
                handle._context.run(handle._callback, *handle._args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as error:
                self.call_exception_handler({"message": "in a callback", "exception": error, "handle": handle})

    def _deferred(self, handle: _Handle) -> bool:
        life = handle._context.get(_LIFE)
        if life is None or not life.paused:
            return False
        life.defer(handle)
        return True

    def ready_again(self, handles: list[_Handle]) -> None:
        self._ready.extend(handle for handle in handles if not handle.cancelled())

    def call_later(  # type: ignore[override]
        self, delay: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> _Handle:
        return self.call_at(self.time() + delay, callback, *args, context=context)

    def call_at(  # type: ignore[override]
        self, when: float, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> _Handle:
        """``when`` is by the caller's clock."""
        life = _life_now()
        at = when if life is None or life.true else life.when(when)
        at = max(at, self._now + TICK_SECONDS)
        self._timers += 1
        timer = _Handle(callback, args, context, when)
        heapq.heappush(self._scheduled, (at, self._timers, timer))
        return timer

    def post(self, at: float, callback: Callable[..., object], *args: object) -> None:
        """Nobody's doing: by nobody's clock, and though everybody be paused."""
        self._timers += 1
        heapq.heappush(self._scheduled, (at, self._timers, _Handle(callback, args, self._nobody, at)))

    def call_soon(  # type: ignore[override]
        self, callback: Callable[[*Ts], object], *args: *Ts, context: contextvars.Context | None = None
    ) -> _Handle:
        handle = _Handle(callback, args, context, 0.0)
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


def here() -> VirtualLoop:
    """The loop that runs."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop), "only for what is simulated"
    return loop


def run(main: Callable[[], Coroutine[Any, Any, T]]) -> T:
    """Run ``main`` to its end on a fresh virtual loop."""
    loop = VirtualLoop()
    try:
        with asyncio.Runner(loop_factory=lambda: loop) as runner:
            return runner.run(main())
    finally:
        for error in loop.uncaught:
            raise AssertionError(error)
