"""A network in memory: streams and calls with latency, cuts one way or both, losses, and ports that refuse.

A stream is FIFO in each direction, as TCP makes it: what is lost of it is lost with all that follows, and
the stream turns out to be broken. A cut holds what is sent; when it ends, what was held arrives late (which is
how messages of deposed primaries come to be read), or the stream turns out to be broken. Streams overtake each
other, and so do calls. A process that is gone refuses connections, and its streams break at once where its host
can still say so.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from typing import Any, Generic, TypeVar

from springtide import errors
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.links import Link, Speed
from springtide.testing.simulator.loop import Life, here

__all__ = ["End", "Network", "Speed"]

Out = TypeVar("Out")
In = TypeVar("In")

#: How long a connection attempt or a call waits on a cut link.
PATIENCE_SECONDS = 1.0
_CLOSED = object()


class _Pipe:
    """One direction of one stream."""

    __slots__ = ("_held", "_last_arrival", "arrived", "broken", "link", "lost", "network", "source", "target", "waiter")

    def __init__(self, network: Network, source: str, target: str) -> None:
        self.network, self.source, self.target = network, source, target
        self.link = network.link(source, target)
        self.arrived: deque[Any] = deque()
        self.waiter: asyncio.Future[None] | None = None
        self.broken = False
        #: Something was lost: nothing that follows arrives.
        self.lost = False
        self._held: deque[Any] = deque()
        self._last_arrival = 0.0

    @property
    def holds(self) -> bool:
        return bool(self._held)

    def send(self, message: Any) -> None:
        if self.link.cuts or self._held:
            self._held.append(message)
        elif not self.lost:
            self._fly(message)

    def mended(self) -> None:
        held, self._held = self._held, deque()
        for message in held:
            self._fly(message)

    def break_now(self) -> None:
        self.broken = True
        self._held.clear()
        self.wake()

    def wake(self) -> None:
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result(None)

    def _fly(self, message: Any) -> None:
        if self.link.loses():
            self.lost = True
            self.network.lost(self)
            return
        loop = self.network.loop
        # Messages of one stream do not overtake each other.
        at = max(self._last_arrival, loop.now + self.link.latency())
        self._last_arrival = at
        loop.post(at, self._arrive, message)

    def _arrive(self, message: Any) -> None:
        if self.link.cuts:
            self._held.append(message)  # it was on its way when the link was cut
        elif not self.broken:
            self.arrived.append(message)
            self.wake()


class End(Generic[Out, In]):
    """One side of a stream: a ``wire.ports.Duplex``."""

    def __init__(self, life: Life, out: _Pipe, into: _Pipe) -> None:
        self._life, self._out, self._into = life, out, into
        self.closed = False

    async def send(self, message: Out) -> None:
        if self.closed or self._out.broken or self._life.over:
            raise errors.Unreachable(f"the stream to {self._out.target} is broken")
        self._out.send(message)

    async def receive(self) -> In | None:
        into = self._into
        while not into.arrived:
            if self.closed or into.broken or self._life.over:
                raise errors.Unreachable(f"the stream from {into.source} is broken")
            into.waiter = into.network.loop.create_future()
            await into.waiter
        message = into.arrived.popleft()
        if message is _CLOSED:
            into.arrived.append(message)
            return None
        return message  # type: ignore[no-any-return]

    @property
    def broken(self) -> bool:
        """Whether it is known here that nothing will come any more."""
        return self.closed or self._into.broken or self._out.broken

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._into.wake()
            if not self._life.over:
                self._out.send(_CLOSED)


class _Stream:
    __slots__ = ("ends", "lives", "pipes")

    def __init__(self, pipes: tuple[_Pipe, _Pipe], ends: tuple[End[Any, Any], End[Any, Any]]) -> None:
        self.pipes, self.ends = pipes, ends
        self.lives = (ends[0]._life, ends[1]._life)

    @property
    def over(self) -> bool:
        return all(pipe.broken for pipe in self.pipes) or all(end.closed for end in self.ends)


class Network:
    def __init__(self, chance: Chance, speed: Speed | None = None) -> None:
        self.chance = chance
        self.speed = speed or Speed()
        self.loop = here()
        self._links: dict[tuple[str, str], Link] = {}
        self._listening: dict[str, tuple[Life, dict[str, Callable[[Any], Awaitable[None]]]]] = {}
        self._streams: list[_Stream] = []
        self._random = chance.of("network")
        #: How often everything was mended at once: cuts of before are no more.
        self.healed = 0

    def link(self, source: str, target: str) -> Link:
        link = self._links.get((source, target))
        if link is None:
            link = self._links[source, target] = Link(self.speed, self.chance.of("link", source, target))
        return link

    # -- faults --------------------------------------------------------------------------------

    def cut(self, source: str, target: str) -> None:
        self.link(source, target).cuts += 1

    def is_cut(self, source: str, target: str) -> bool:
        return self.link(source, target).cuts > 0

    def mend(self, source: str, target: str) -> None:
        """One cut ends."""
        link = self.link(source, target)
        if link.cuts:
            link.cuts -= 1
            if not link.cuts:
                self._release(stream for stream in self._live_streams() if link in (p.link for p in stream.pipes))

    def heal(self) -> None:
        """Every link works again. What was held arrives late, or its stream is found broken."""
        self.healed += 1
        for link in self._links.values():
            link.mend()
        self._release(self._live_streams())

    def _release(self, streams: Iterable[_Stream]) -> None:
        for stream in streams:
            if any(pipe.holds and not pipe.link.cuts for pipe in stream.pipes):
                if self._random.random() < 0.5:
                    self._break(stream)
                for pipe in stream.pipes:
                    if not pipe.link.cuts:
                        pipe.mended()

    def lost(self, pipe: _Pipe) -> None:
        """Sooner or later somebody notices."""
        for stream in self._streams:
            if pipe in stream.pipes:
                self._break(stream, self._random.choice((0.0, 0.3, 2.0)))

    def reset(self, one: str, other: str) -> int:
        """Every stream between two hosts breaks; how many there were."""
        found = [stream for stream in self._live_streams() if {p.source for p in stream.pipes} == {one, other}]
        for stream in found:
            self._break(stream)
        return len(found)

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

    def _break(self, stream: _Stream, seconds: float = 0.0) -> None:
        for pipe in stream.pipes:
            at = self.loop.now + seconds + pipe.link.latency()
            self.loop.post(at, pipe.break_now)

    def _live_streams(self) -> list[_Stream]:
        self._streams = [stream for stream in self._streams if not stream.over]
        return list(self._streams)

    # -- connecting ----------------------------------------------------------------------------

    @asynccontextmanager
    async def connect(self, life: Life, source: str, target: str, service: str) -> AsyncIterator[End[Any, Any]]:
        near = await self.dial(life, source, target, service)
        try:
            yield near
        finally:
            near.close()

    async def dial(self, life: Life, source: str, target: str, service: str) -> End[Any, Any]:
        """A stream that the caller closes."""
        await self._round_trip(source, target)
        listening, services = self._listening.get(target, (None, {}))
        if life.over or listening is None or service not in services:
            raise errors.Unreachable(f"{target} refuses connections")
        there, back = _Pipe(self, source, target), _Pipe(self, target, source)
        near: End[Any, Any] = End(life, there, back)
        far: End[Any, Any] = End(listening, back, there)
        if len(self._streams) > 100:
            self._live_streams()
        self._streams.append(_Stream((there, back), (near, far)))
        listening.start(self._serve(services[service], far))
        return near

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
        there, back = self.link(source, target), self.link(target, source)
        if there.cuts or back.cuts or there.loses() or back.loses():
            await asyncio.sleep(PATIENCE_SECONDS)
            raise errors.Unreachable(f"{target} does not answer")
        await asyncio.sleep(there.latency_of_call() + back.latency_of_call())
        if there.cuts or back.cuts:
            raise errors.Unreachable(f"{target} does not answer")
