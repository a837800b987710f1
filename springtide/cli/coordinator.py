"""``springtide coordinator``."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

from springtide.errors import ConfigError
from springtide.node.address import is_loopback, parse_address


def run(bind: str, file: Path, insecure: bool) -> int:
    try:
        parse_address(bind)
    except ValueError as error:
        raise ConfigError(f"--bind {bind!r} {error}") from None
    if not insecure and not is_loopback(bind):
        raise ConfigError(
            f"--bind {bind} can be reached by others, and the embedded coordinator speaks no TLS: "
            "bind to 127.0.0.1, use etcd, or say --insecure if the network itself is safe"
        )
    return asyncio.run(_serve(bind, file))


async def _serve(bind: str, file: Path) -> int:
    from springtide.coordinator import server

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    serving = await server.serve(bind, file)
    print(f"coordinator: serving on port {serving.port}, record in {file}", flush=True)
    failed = asyncio.ensure_future(serving.wait())
    asked = asyncio.ensure_future(stopped.wait())
    try:
        await asyncio.wait((failed, asked), return_when=asyncio.FIRST_COMPLETED)
        if failed.done():
            failed.result()
    finally:
        failed.cancel()
        asked.cancel()
        await serving.stop()
    return 0
