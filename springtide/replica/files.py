"""Fetch the files that entries and rows name, from the node that has them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import aclosing

from springtide import errors
from springtide.records.blobs import Named
from springtide.replica.ports import Blobs, Gone, Peers

#: Files that are fetched at a time: one alone waits for each sync, many only wait for each other.
AT_A_TIME = 4


async def fetch(blobs: Blobs, peers: Peers, address: str, cluster: str, named: Named) -> None:
    """Have the file, whole and synced: go on with what is here of it. One that is gone there is done without.

    Raises Unreachable, BlobMissing, BadRequest (its content is not what was said) or NoSpace.
    """
    try:
        await copy(blobs, peers, address, cluster, named)
    except Gone:
        await blobs.give_up(named.blob)


async def copy(blobs: Blobs, peers: Peers, address: str, cluster: str, named: Named) -> None:
    """The same; raises Gone, too."""
    async with blobs.receive(named.blob) as intake:
        async with aclosing(peers.blob(address, cluster, named, intake.held)) as content:
            async for data in content:
                await intake.write(data)
        if intake.held < named.blob.size:
            raise errors.Unreachable(f"{address} sent {intake.held:,} of {named.blob.size:,} bytes of a blob")
        await intake.finish()


async def fetch_all(blobs: Blobs, peers: Peers, address: str, cluster: str, names: Sequence[Named]) -> None:
    """All of these files, a few at a time. Raises what ``fetch`` raises, once nothing is at work any more."""
    waiting = iter(names)

    async def some() -> None:
        for named in waiting:
            await fetch(blobs, peers, address, cluster, named)

    done = await asyncio.gather(*(some() for _ in range(min(AT_A_TIME, len(names)))), return_exceptions=True)
    for failed in done:
        if failed is not None:
            raise failed


class Fetching:
    """The files that one feed asks for. Each is reported once: held, or not, and why."""

    def __init__(
        self,
        blobs: Blobs,
        peers: Peers,
        address: str,
        cluster: str,
        held: Callable[[bytes], None],
        not_held: Callable[[bytes, Exception], None],
    ) -> None:
        self._blobs = blobs
        self._peers = peers
        self._address, self._cluster = address, cluster
        self._held, self._not_held = held, not_held
        self._waiting: deque[Named] = deque()
        self._asked: set[bytes] = set()  # waiting, or being fetched
        self._workers: set[asyncio.Task[None]] = set()

    def begin(self, names: Iterable[Named]) -> None:
        """Announced and named by an entry meanwhile: one fetch does for both."""
        for named in names:
            if named.blob.id not in self._asked:
                self._asked.add(named.blob.id)
                self._waiting.append(named)
        self._workers = {worker for worker in self._workers if not worker.done()}
        while len(self._workers) < min(AT_A_TIME, len(self._asked)):
            self._workers.add(asyncio.create_task(self._work()))

    async def end(self) -> None:
        """What came so far is kept, to go on from."""
        workers = list(self._workers)
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    async def _work(self) -> None:
        while self._waiting:
            named = self._waiting.popleft()
            failure: Exception | None = None
            try:
                if await self._blobs.lacking((named,)):
                    await fetch(self._blobs, self._peers, self._address, self._cluster, named)
            except Exception as error:
                failure = error
            self._asked.discard(named.blob.id)
            if failure is None:
                self._held(named.blob.id)
            else:
                self._not_held(named.blob.id, failure)
