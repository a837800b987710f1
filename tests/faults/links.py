"""A proxy for every link between two machines: delays, reorders (between connections), throttles, swallows, resets.

One process for all links of a run: ``python -m tests.faults.links FILE``. The file lists the links; orders come as
JSON lines on standard input, each answered by a line; the process ends with its input. Where the port behind a link
refuses, the proxy's port refuses, too: whoever looks whether a process is gone must see the same.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import socket
import struct
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.faults.network import Link, enter

_CHUNK = 64 * 2**10
_DIAL_SECONDS = 1.0
_LOOK_SECONDS = 0.05
_RESET = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Weather:
    """How a link is. Times in seconds."""

    delay: float = 0.0
    #: Each chunk is late by up to so much more; chunks of one connection stay in order.
    jitter: float = 0.0
    bytes_per_second: float = 0.0
    #: What the far machine answers is taken and never delivered. Whoever ends this resets the link: bytes are missing.
    swallow: bool = False


@dataclass(slots=True)
class Place:
    """One link's end on the near machine, and where it leads."""

    near: str
    far: str
    listen: tuple[str, int]
    connect: tuple[str, int]


class Spaces:
    """Makes sockets in the namespaces of machines; the process itself stays where it is."""

    def __init__(self, paths: Mapping[str, str]) -> None:
        self._home = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        self._spaces = {name: os.open(path, os.O_RDONLY | os.O_CLOEXEC) for name, path in paths.items() if path}

    def socket(self, machine: str) -> socket.socket:
        if machine not in self._spaces:
            made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        else:
            enter(self._spaces[machine])
            try:
                made = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
            finally:
                enter(self._home)
        made.setblocking(False)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made


class Proxy:
    """One link to one port."""

    def __init__(self, place: Place, spaces: Spaces, chance: random.Random) -> None:
        self.place = place
        self.weather = Weather()
        self._spaces = spaces
        self._chance = chance
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], list[socket.socket]] = {}
        self._watching: asyncio.Task[None] | None = None

    async def open(self) -> None:
        if self._server is None:
            listening = self._spaces.socket(self.place.near)
            listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            listening.bind(self.place.listen)
            self._server = await asyncio.start_server(self._accepted, sock=listening, limit=_CHUNK)

    def _shut(self) -> None:
        """Refuse, until the port behind accepts again."""
        if self._server is not None:
            self._server.close()
            self._server = None
        if self._watching is None or self._watching.done():
            self._watching = asyncio.ensure_future(self._watch())

    async def _watch(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            with contextlib.suppress(OSError, TimeoutError):
                (await self._dial()).close()
                await self.open()
                return

    def reset(self) -> None:
        """End every connection of this link as a crashed router would."""
        for task, sockets in list(self._connections.items()):
            for each in sockets:
                with contextlib.suppress(OSError):
                    each.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
            task.cancel()

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
        if self._server is not None:
            self._server.close()
        for task in list(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _dial(self) -> socket.socket:
        """Raises ConnectionRefusedError, TimeoutError or another OSError."""
        made = self._spaces.socket(self.place.near)
        try:
            async with asyncio.timeout(_DIAL_SECONDS):
                await asyncio.get_running_loop().sock_connect(made, self.place.connect)
        except BaseException:
            made.close()
            raise
        return made

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        near = writer.get_extra_info("socket")
        sockets = self._connections[task] = [near]
        ends = [writer]
        try:
            while True:
                try:
                    far = await self._dial()
                    break
                except TimeoutError:
                    continue  # dropped packets; whoever waits may go on waiting
                except ConnectionRefusedError:
                    self._shut()
                    return
            sockets.append(far)
            far_reader, far_writer = await asyncio.open_connection(sock=far, limit=_CHUNK)
            ends.append(far_writer)
            pumps = [
                asyncio.ensure_future(self._pump(reader, far_writer, answers=False)),
                asyncio.ensure_future(self._pump(far_reader, writer, answers=True)),
            ]
            try:
                await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pump in pumps:
                    pump.cancel()
                await asyncio.gather(*pumps, return_exceptions=True)
            try:
                (await self._dial()).close()  # who is told of the end may ask at once whether the port refuses
            except ConnectionRefusedError:
                self._shut()
        except (OSError, TimeoutError, asyncio.CancelledError):
            pass
        finally:
            del self._connections[task]
            for end in ends:
                end.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, answers: bool) -> None:
        loop = asyncio.get_running_loop()
        due = 0.0
        late: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(256)
        carrier: asyncio.Task[None] | None = None
        try:
            while data := await reader.read(_CHUNK):
                weather = self.weather
                if weather.swallow and answers:
                    continue
                now = loop.time()
                due = max(due, now + weather.delay + self._chance.random() * weather.jitter)
                if weather.bytes_per_second:
                    due += len(data) / weather.bytes_per_second
                if due <= now and late.empty() and (carrier is None or carrier.done()):
                    writer.write(data)
                    await writer.drain()
                    continue
                await late.put((due, data))
                if carrier is None or carrier.done():
                    carrier = asyncio.ensure_future(self._carry(late, writer))
            if carrier is not None:
                await carrier
        finally:
            if carrier is not None:
                carrier.cancel()

    @staticmethod
    async def _carry(late: asyncio.Queue[tuple[float, bytes]], writer: asyncio.StreamWriter) -> None:
        while not late.empty():
            due, data = late.get_nowait()
            wait = due - asyncio.get_running_loop().time()
            if wait > 0:
                await asyncio.sleep(wait)
            writer.write(data)
            await writer.drain()


async def serve(places: Sequence[Place], spaces: Spaces, orders: asyncio.StreamReader) -> None:
    """Until there are no more orders."""
    chance = random.Random(0)
    proxies = [Proxy(place, spaces, chance) for place in places]
    for proxy in proxies:
        await proxy.open()
    print("ready", flush=True)
    while line := await orders.readline():
        order = json.loads(line)
        wanted = {tuple(link) for link in order["links"]}
        for proxy in proxies:
            if (proxy.place.near, proxy.place.far) in wanted:
                if order["do"] == "reset":
                    proxy.reset()
                else:
                    proxy.weather = Weather(**order["weather"])
        print("done", flush=True)


async def _main(file: Path) -> None:
    told = json.loads(file.read_text())
    places = [Place(p["near"], p["far"], tuple(p["listen"]), tuple(p["connect"])) for p in told["places"]]
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(orders), sys.stdin)
    await serve(places, Spaces(told["spaces"]), orders)


class Links:
    """The process of all proxies, and what it is told."""

    def __init__(self, places: Sequence[Place], spaces: Mapping[str, str], directory: Path) -> None:
        file = directory / "links.json"
        listed = [{"near": p.near, "far": p.far, "listen": p.listen, "connect": p.connect} for p in places]
        file.write_text(json.dumps({"spaces": dict(spaces), "places": listed}))
        self._all = sorted({(p.near, p.far) for p in places})
        with (directory / "links.log").open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.links", str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                start_new_session=True,
            )
        self._answered("ready")

    def between(self, near: Iterable[str], far: Iterable[str]) -> list[Link]:
        """The links that exist of these."""
        ones, others = set(near), set(far)
        return [link for link in self._all if link[0] in ones and link[1] in others]

    def weather(self, links: Iterable[Link], weather: Weather) -> None:
        self._order({"do": "weather", "links": list(links), "weather": asdict(weather)})

    def reset(self, links: Iterable[Link]) -> None:
        self._order({"do": "reset", "links": list(links)})

    def heal(self) -> None:
        self.weather(self._all, Weather())

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)

    def _order(self, order: Mapping[str, Any]) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        self._answered("done")

    def _answered(self, wanted: str) -> None:
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != wanted.encode():
            raise OSError("the process of the links has ended: links.log says why")


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
