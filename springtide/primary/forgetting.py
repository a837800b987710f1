"""Which ids of committed transactions need not be remembered any more?

A client asks what became of a finish within minutes. Ids are kept for much longer, and
then forgotten by entries of the log, so that all nodes forget alike; who asks later hears
that nobody knows, never that it was not committed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from springtide.primary import tids
from springtide.primary.ports import Disk
from springtide.records.entries import Entry, Kind
from springtide.records.forget import encode_forget
from springtide.records.ids import TID_ZERO, Tid

#: Ids that one entry makes forgotten: some milliseconds of the thread that applies.
STEP_IDS = 5_000


def limit(last: Tid, kept_seconds: float, now: float) -> Tid:
    """Transactions below this may be forgotten. ``now`` is in seconds since 1970.

    By the newest transaction as well as by the clock: where old transactions are copied in, what was
    committed lately has old tids; and a clock that is ahead forgets nothing that is still asked for.
    """
    if last == TID_ZERO:
        return TID_ZERO
    return tids.tid_of(max(0.0, min(now, tids.seconds_of(last)) - kept_seconds))


def pause_seconds(kept_seconds: float) -> float:
    """How often to look."""
    return min(60.0, kept_seconds / 10)


class Reign(Protocol):
    """What this needs of ``primary.reign.Reign``."""

    @property
    def disk(self) -> Disk: ...
    def append(self, kind: Kind, body: bytes) -> Entry: ...
    async def until_committed(self, lsn: int) -> None: ...
    async def until_appending(self) -> None: ...


async def run(reign: Reign, kept_seconds: float, wall: Callable[[], float]) -> None:
    """Forget, as long as the reign lasts. Raises NotPrimary at its end."""
    while True:
        await asyncio.sleep(pause_seconds(kept_seconds))
        await _forget(reign, limit(reign.disk.commit_tid, kept_seconds, wall()))


async def _forget(reign: Reign, below: Tid) -> None:
    disk = reign.disk
    while disk.forgotten < below:
        step = await disk.forgettable(below, STEP_IDS)
        if step is None:
            return
        await reign.until_appending()
        entry = reign.append(Kind.FORGET, encode_forget(step))
        await reign.until_committed(entry.lsn)
        await disk.until_applied(entry.lsn)
