"""Fetch the files that entries and rows name, from the node that has them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence

from springtide import errors
from springtide.records.blobs import Named
from springtide.replica.ports import Blobs, Gone, Peers

#: Files that are fetched at a time: one alone waits for each sync, many only wait for each other.
AT_A_TIME = 4


async def fetch(blobs: Blobs, peers: Peers, address: str, cluster: str, named: Named) -> None:
    """Have the file, whole and synced: go on with what is here of it.

    Raises Unreachable, BlobMissing, BadRequest (its content is not what was said) or NoSpace.
    """
    try:
        async with blobs.receive(named.blob) as intake:
            async for data in peers.blob(address, cluster, named, intake.held):
                await intake.write(data)
            if intake.held < named.blob.size:
                raise errors.Unreachable(f"{address} sent {intake.held:,} of {named.blob.size:,} bytes of a blob")
            await intake.finish()
    except Gone:
        await blobs.give_up(named.blob)


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
        self._tasks: dict[bytes, asyncio.Task[None]] = {}
        self._places = asyncio.Semaphore(AT_A_TIME)

    def begin(self, names: Iterable[Named]) -> None:
        """Announced and named by an entry meanwhile: one fetch does for both."""
        for named in names:
            if named.blob.id not in self._tasks:
                self._tasks[named.blob.id] = asyncio.create_task(self._fetch(named))

    async def end(self) -> None:
        """What came so far is kept, to go on from."""
        tasks = list(self._tasks.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _fetch(self, named: Named) -> None:
        id = named.blob.id
        try:
            async with self._places:
                if await self._blobs.lacking((named,)):
                    await fetch(self._blobs, self._peers, self._address, self._cluster, named)
        except Exception as error:
            self._tasks.pop(id, None)
            self._not_held(id, error)
        else:
            self._tasks.pop(id, None)
            self._held(id)
