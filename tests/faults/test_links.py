"""The proxies between machines, without namespaces: what they do to what passes through them."""

from __future__ import annotations

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from springtide.testing.process import free_port
from tests.faults.links import Place, Proxy, Spaces, Weather


@asynccontextmanager
async def echoing(port: int) -> AsyncIterator[None]:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(1024):
            writer.write(data)
        writer.close()

    async with await asyncio.start_server(echo, "127.0.0.1", port):
        yield


@asynccontextmanager
async def linked(port: int) -> AsyncIterator[Proxy]:
    proxy = Proxy(Place("near", "far", ("127.0.0.1", free_port()), ("127.0.0.1", port)), Spaces({}), random.Random(0))
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()


async def ask(proxy: Proxy, data: bytes = b"hello") -> bytes:
    reader, writer = await asyncio.open_connection(*proxy.place.listen)
    writer.write(data)
    try:
        async with asyncio.timeout(5.0):
            return await reader.readexactly(len(data))
    finally:
        writer.close()


def run(test: Callable[[Proxy], Awaitable[None]]) -> None:
    async def all() -> None:
        port = free_port()
        async with echoing(port), linked(port) as proxy:
            await test(proxy)

    asyncio.run(all())


def test_what_is_said_arrives_and_is_answered() -> None:
    async def test(proxy: Proxy) -> None:
        sent = random.Random(1).randbytes(300_000)
        assert await ask(proxy, sent) == sent

    run(test)


def test_a_late_link_is_late_in_both_directions() -> None:
    async def test(proxy: Proxy) -> None:
        proxy.weather = Weather(delay=0.1)
        began = asyncio.get_running_loop().time()
        assert await ask(proxy) == b"hello"
        assert asyncio.get_running_loop().time() - began >= 0.2

    run(test)


def test_lateness_by_chance_reorders_nothing_within_a_connection() -> None:
    async def test(proxy: Proxy) -> None:
        proxy.weather = Weather(jitter=0.02)
        reader, writer = await asyncio.open_connection(*proxy.place.listen)
        for number in range(50):
            writer.write(number.to_bytes(4, "big"))
            await asyncio.sleep(0.001)
        assert await reader.readexactly(200) == b"".join(number.to_bytes(4, "big") for number in range(50))
        writer.close()

    run(test)


def test_a_narrow_link_lets_so_much_through() -> None:
    async def test(proxy: Proxy) -> None:
        proxy.weather = Weather(bytes_per_second=10_000)
        began = asyncio.get_running_loop().time()
        await ask(proxy, bytes(2_000))
        assert asyncio.get_running_loop().time() - began >= 0.35

    run(test)


def test_answers_that_are_swallowed_never_come() -> None:
    async def test(proxy: Proxy) -> None:
        proxy.weather = Weather(swallow=True)
        reader, writer = await asyncio.open_connection(*proxy.place.listen)
        writer.write(b"hello")
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await reader.read(1)
        writer.close()

    run(test)


def test_a_reset_ends_every_connection_and_the_next_one_works() -> None:
    async def test(proxy: Proxy) -> None:
        reader, writer = await asyncio.open_connection(*proxy.place.listen)
        writer.write(b"hello")
        await reader.readexactly(5)
        proxy.reset()
        with pytest.raises(ConnectionResetError):
            async with asyncio.timeout(5.0):
                assert await reader.read(1) == b"", "the connection goes on"
                raise ConnectionResetError  # it ended in order, which will do
        writer.close()
        assert await ask(proxy) == b"hello"

    run(test)


def test_where_the_port_behind_refuses_the_link_refuses_and_accepts_when_it_is_back() -> None:
    async def test() -> None:
        port = free_port()
        async with linked(port) as proxy:
            async with echoing(port):
                reader, writer = await asyncio.open_connection(*proxy.place.listen)
                writer.write(b"hello")
                await reader.readexactly(5)
            writer.write_eof()
            assert await reader.read(1) == b"", "its end is passed on"
            writer.close()
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection(proxy.place.listen, 1.0)
            async with echoing(port):
                async with asyncio.timeout(5.0):
                    while True:
                        try:
                            assert await ask(proxy) == b"hello"
                            break
                        except ConnectionRefusedError:
                            await asyncio.sleep(0.01)

    asyncio.run(test())
