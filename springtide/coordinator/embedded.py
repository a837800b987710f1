"""The store that needs no other service: a durable file, in one process.

Records and start counters are in the file before anything is answered.
Announcements are in memory only: they expire anyway, and nodes renew them.
Used within a node that is alone, and served to others by ``server``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from pathlib import Path

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.statefile import StateFile
from springtide.coordinator.store import (
    VALUE_BYTES_MAX,
    Announcement,
    RawView,
    Refused,
    Swapped,
    View,
    check_name,
    decode_announcement,
    encode_announcement,
)
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId

#: One process serves the clusters of one machine. More is a client that makes up names.
CLUSTERS_MAX = 1_000
#: Nodes of one cluster. The record names every member, and stays small.
NODES_MAX = 1_000


@dataclass(slots=True)
class _Announced:
    data: bytes
    until: float


@dataclass(slots=True)
class _Cluster:
    revision: int = 0
    record: bytes = b""
    starts: dict[str, int] = field(default_factory=dict)
    announced: dict[str, _Announced] = field(default_factory=dict)


class Core:
    """What is kept for all clusters, by name.

    Invariant: what ``view`` shows of records and counters is on disk. Every change is one
    call without a pause in it, so the loop needs no lock; syncing a file of a few kilobytes
    inside the loop is what that costs, once per change of a set.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._file = StateFile(path)
        try:
            self._clusters = _decode(self._file.load())
        except BaseException:
            self._file.close()
            raise
        self._changed = asyncio.Event()
        self.closed = False

    def view(self, name: str) -> RawView:
        self._check_open()
        cluster = self._clusters.get(check_name(name), _Cluster())
        now = self._clock()
        alive = {node: announced.data for node, announced in cluster.announced.items() if announced.until > now}
        return RawView(cluster.revision, cluster.record, alive, dict(cluster.starts))

    def swap(self, name: str, record: bytes, expected_revision: int) -> bool:
        """Whether it was swapped; it is on disk then."""
        self._check_open()
        if len(record) > VALUE_BYTES_MAX:
            raise errors.TooLarge(f"a record of {len(record)} bytes is above the limit of {VALUE_BYTES_MAX}")
        cluster = self._cluster(name)
        if cluster.revision != expected_revision:
            return False
        before = cluster.revision, cluster.record
        cluster.revision, cluster.record = cluster.revision + 1, record
        try:
            self._save()
        except errors.DiskFailed:
            cluster.revision, cluster.record = before
            raise
        self._notify()
        return True

    def announce(self, name: str, node: str, data: bytes, ttl_seconds: float) -> None:
        self._check_open()
        if len(data) > VALUE_BYTES_MAX:
            raise errors.TooLarge(f"an announcement of {len(data)} bytes is above the limit of {VALUE_BYTES_MAX}")
        if not 0 < ttl_seconds <= 3600:
            raise errors.BadRequest(f"an announcement lasts up to an hour, not {ttl_seconds} seconds")
        cluster, now = self._cluster(name), self._clock()
        present = cluster.announced.get(node)
        if present is None and len(cluster.announced) >= NODES_MAX:
            raise errors.BadRequest(f"{NODES_MAX} nodes are announced already")
        cluster.announced[node] = _Announced(data, now + ttl_seconds)
        if present is None or present.until <= now or present.data != data:
            self._notify()

    def withdraw(self, name: str, node: str, uptime: str) -> None:
        self._check_open()
        cluster = self._cluster(name)
        present = cluster.announced.get(node)
        announcement = decode_announcement(present.data) if present is not None else None
        if announcement is not None and announcement.uptime == uptime:
            del cluster.announced[node]
            self._notify()

    def raise_starts(self, name: str, node: str, starts: int) -> int:
        self._check_open()
        cluster = self._cluster(name)
        present = cluster.starts.get(node, 0)
        if starts <= present:
            return present
        if node not in cluster.starts and len(cluster.starts) >= NODES_MAX:
            raise errors.BadRequest(f"{NODES_MAX} nodes are counted already")
        before, cluster.starts = cluster.starts, cluster.starts | {node: starts}
        try:
            self._save()
        except errors.DiskFailed:
            cluster.starts = before
            raise
        self._notify()
        return starts

    async def wait(self, name: str, seen: RawView, at_most: float | None = None) -> RawView:
        """A view that differs from ``seen``; the present one after ``at_most`` seconds without a change."""
        give_up = None if at_most is None else self._clock() + at_most
        while True:
            changed, view = self._changed, self.view(name)
            left = None if give_up is None else give_up - self._clock()
            if view != seen or (left is not None and left <= 0):
                return view
            expiry = self._expiry(name)
            waits = [seconds for seconds in (left, expiry) if seconds is not None]
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(min(waits) if waits else None):
                    await changed.wait()

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self._file.close()
            self._notify()

    def _cluster(self, name: str) -> _Cluster:
        check_name(name)
        if name not in self._clusters and len(self._clusters) >= CLUSTERS_MAX:
            raise errors.BadRequest(f"this coordinator keeps {CLUSTERS_MAX} clusters already")
        return self._clusters.setdefault(name, _Cluster())

    def _expiry(self, name: str) -> float | None:
        """Seconds until the next announcement ends."""
        now = self._clock()
        untils = [announced.until for announced in self._clusters.get(name, _Cluster()).announced.values()]
        alive = [until - now for until in untils if until > now]
        return min(alive) if alive else None

    def _notify(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _check_open(self) -> None:
        if self.closed:
            raise errors.Unreachable("the coordinator's store is closed")

    def _save(self) -> None:
        self._file.save(_encode(self._clusters))


def _encode(clusters: dict[str, _Cluster]) -> bytes:
    kept = {
        name: {"revision": cluster.revision, "record": cluster.record.decode(), "starts": cluster.starts}
        for name, cluster in sorted(clusters.items())
        if cluster.revision or cluster.starts
    }
    return json.dumps({"clusters": kept}, indent=1).encode()


def _decode(body: bytes | None) -> dict[str, _Cluster]:
    if body is None:
        return {}
    return {
        name: _Cluster(kept["revision"], kept["record"].encode(), dict(kept["starts"]))
        for name, kept in json.loads(body)["clusters"].items()
    }


class EmbeddedStore:
    """The ``Store`` of one cluster over a ``Core`` in this process."""

    def __init__(self, core: Core, name: str) -> None:
        self._core = core
        self._name = check_name(name)

    @classmethod
    def open(cls, path: Path, name: str, clock: Callable[[], float] = time.monotonic) -> EmbeddedStore:
        """A store of its own for a node that is alone. Closing it lets go of the file."""
        return cls(Core(path, clock), name)

    async def read(self) -> View:
        return self._core.view(self._name).decoded()

    async def watch(self) -> AsyncIterator[View]:
        seen = self._core.view(self._name)
        yield seen.decoded()
        while True:
            seen = await self._core.wait(self._name, seen)
            yield seen.decoded()

    async def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        swapped = self._core.swap(self._name, topology.encode(record), expected_revision)
        view = await self.read()
        return Swapped(view) if swapped else Refused(view)

    async def announce(self, announcement: Announcement, ttl_seconds: float) -> None:
        self._core.announce(self._name, announcement.node, encode_announcement(announcement), ttl_seconds)

    async def withdraw(self, node: NodeId, uptime: str) -> None:
        self._core.withdraw(self._name, node, uptime)

    async def raise_starts(self, node: NodeId, starts: int) -> int:
        return self._core.raise_starts(self._name, node, starts)

    async def close(self) -> None:
        self._core.close()
