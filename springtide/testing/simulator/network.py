"""A network in memory: streams and calls with latency, cuts one way or both, and ports that refuse.

A stream is FIFO in each direction. A cut holds what is sent; when it heals, what
was held arrives late (which is how messages of deposed primaries come to be read),
or the stream turns out to be broken. A process that is gone refuses connections,
and its streams break at once where its host can still say so.
"""

from __future__ import annotations

import asyncio
import contextvars
import random
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from springtide import errors
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.loop import Life

Out = TypeVar("Out")
In = TypeVar("In")
T = TypeVar("T")

#: How long a connection attempt or a call waits on a cut link.
PATIENCE_SECONDS = 1.0
_CLOSED = object()


@dataclass(frozen=True, slots=True)
class Speed:
    latency_seconds: float = 0.001
    jitter_seconds: float = 0.004
    #: Now and then a message takes this much longer.
    hiccup_seconds: float = 0.3
    hiccup_chance: float = 0.01


class _Pipe:
    """One direction of one stream."""

    def __init__(self, network: Network, source: str, target: str, name: object) -> None:
        self.network, self.source, self.target = network, source, target
        self.arrived: deque[Any] = deque()
        self.wakeup = asyncio.Event()
        self.broken = False
        self._held: deque[Any] = deque()
        self._last_arrival = 0.0
        self._random = network.chance.of("pipe", source, target, name)

    def send(self, message: Any) -> None:
        if self.network.is_cut(self.source, self.target) or self._held:
            self._held.append(message)
        else:
            self._fly(message)

    def healed(self) -> None:
        held, self._held = self._held, deque()
        for message in held:
            self._fly(message)

    def break_now(self) -> None:
        self.broken = True
        self._held.clear()
        self.wakeup.set()

    def _fly(self, message: Any) -> None:
        loop = asyncio.get_running_loop()
        # Timers of one instant fire in any order; messages of one stream do not overtake each other.
        at = max(self._last_arrival + 1e-7, loop.time() + self.network.latency(self._random))
        self._last_arrival = at
        loop.call_at(at, self._arrive, message, context=self.network.context)

    def _arrive(self, message: Any) -> None:
        if self.network.is_cut(self.source, self.target):
            self._held.append(message)  # it was on its way when the link was cut
        elif not self.broken:
            self.arrived.append(message)
            self.wakeup.set()


class End(Generic[Out, In]):
    """One side of a stream: a ``wire.ports.Duplex``."""

    def __init__(self, life: Life, out: _Pipe, into: _Pipe) -> None:
        self._life, self._out, self._into = life, out, into
        self._closed = False

    async def send(self, message: Out) -> None:
        if self._closed or self._out.broken or self._life.over:
            raise errors.Unreachable(f"the stream to {self._out.target} is broken")
        self._out.send(message)

    async def receive(self) -> In | None:
        while not self._into.arrived:
            if self._closed or self._into.broken or self._life.over:
                raise errors.Unreachable(f"the stream from {self._into.source} is broken")
            self._into.wakeup.clear()
            await self._into.wakeup.wait()
        message = self._into.arrived.popleft()
        if message is _CLOSED:
            self._into.arrived.append(message)
            return None
        return message  # type: ignore[no-any-return]

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._into.wakeup.set()
            if not self._life.over:
                self._out.send(_CLOSED)


@dataclass(slots=True)
class _Stream:
    pipes: tuple[_Pipe, _Pipe]
    lives: tuple[Life, Life]


class Network:
    def __init__(self, chance: Chance, speed: Speed | None = None) -> None:
        self.chance = chance
        self.speed = speed or Speed()
        #: Flights belong to nobody: a paused process does not stop what is under way.
        self.context = contextvars.Context()
        self._cuts: set[tuple[str, str]] = set()
        self._listening: dict[str, tuple[Life, dict[str, Callable[[Any], Awaitable[None]]]]] = {}
        self._streams: list[_Stream] = []
        self._random = chance.of("network")
        self._dialed: dict[tuple[str, str], int] = {}

    def latency(self, rnd: random.Random) -> float:
        seconds = self.speed.latency_seconds + rnd.random() * self.speed.jitter_seconds
        if rnd.random() < self.speed.hiccup_chance:
            seconds += rnd.random() * self.speed.hiccup_seconds
        return seconds

    # -- cuts ----------------------------------------------------------------------------------

    def cut(self, source: str, target: str) -> None:
        self._cuts.add((source, target))

    def is_cut(self, source: str, target: str) -> bool:
        return (source, target) in self._cuts

    def heal(self) -> None:
        """Every link works again. What was held arrives late, or its stream is found broken."""
        self._cuts.clear()
        for stream in self._live_streams():
            if any(pipe._held for pipe in stream.pipes) and self._random.random() < 0.5:
                self._break(stream)
            for pipe in stream.pipes:
                pipe.healed()

    # -- processes -----------------------------------------------------------------------------

    def listen(self, name: str, life: Life, service: str, serve: Callable[[Any], Awaitable[None]]) -> None:
        """From now on ``serve(end)`` runs, as a part of ``life``, for every stream to this service."""
        _, services = self._listening.get(name, (life, {}))
        if self._listening.get(name, (life,))[0] is not life:
            services = {}
        services[service] = serve
        self._listening[name] = (life, services)

    def gone(self, life: Life) -> None:
        """The process ended: its port refuses, and its streams break where the news can travel."""
        for name in [name for name, (listening, _) in self._listening.items() if listening is life]:
            del self._listening[name]
        for stream in self._live_streams():
            if life in stream.lives:
                self._break(stream)

    def _break(self, stream: _Stream) -> None:
        for pipe in stream.pipes:
            asyncio.get_running_loop().call_later(self.latency(self._random), pipe.break_now, context=self.context)

    def _live_streams(self) -> list[_Stream]:
        self._streams = [stream for stream in self._streams if not all(pipe.broken for pipe in stream.pipes)]
        return list(self._streams)

    # -- connecting ----------------------------------------------------------------------------

    @asynccontextmanager
    async def connect(self, life: Life, source: str, target: str, service: str) -> AsyncIterator[End[Any, Any]]:
        await self._round_trip(source, target)
        listening, services = self._listening.get(target, (None, {}))
        if life.over or listening is None or service not in services:
            raise errors.Unreachable(f"{target} refuses connections")
        number = self._dialed[source, target]
        there, back = _Pipe(self, source, target, number), _Pipe(self, target, source, number)
        self._streams.append(_Stream((there, back), (life, listening)))
        near: End[Any, Any] = End(life, there, back)
        far: End[Any, Any] = End(listening, back, there)
        listening.start(self._serve(services[service], far))
        try:
            yield near
        finally:
            near.close()

    async def _serve(self, serve: Callable[[Any], Awaitable[None]], end: End[Any, Any]) -> None:
        try:
            await serve(end)
        except errors.SpringtideError:
            pass  # the caller sees the stream end
        finally:
            end.close()

    async def refuses(self, source: str, target: str) -> bool:
        """Whether the port answers that nobody listens. Silence is no answer."""
        try:
            await self._round_trip(source, target)
        except errors.Unreachable:
            return False
        return target not in self._listening

    async def _round_trip(self, source: str, target: str) -> None:
        if self.is_cut(source, target) or self.is_cut(target, source):
            await asyncio.sleep(PATIENCE_SECONDS)
            raise errors.Unreachable(f"{target} does not answer")
        self._dialed[source, target] = dialed = self._dialed.get((source, target), 0) + 1
        rnd = self.chance.of("dial", source, target, dialed)
        await asyncio.sleep(self.latency(rnd) + self.latency(rnd))
        if self.is_cut(source, target) or self.is_cut(target, source):
            raise errors.Unreachable(f"{target} does not answer")
