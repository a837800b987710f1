"""A node's disk in memory, with the engine's words: what was not synced is lost when the process dies.

A ``Platter`` is what survives. A ``SimEngine`` is one process's view of it: entries
that it appended and that are not yet synced, and committed ones that are not yet in
the state on the platter. It takes random time, from the seed, for everything.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Protocol

from springtide import errors
from springtide.engine.values import Committed, Import, Trimmed
from springtide.node.reigning import PIN_SECONDS
from springtide.records.blobs import names_in
from springtide.records.entries import Entry
from springtide.records.ids import Oid, Tid
from springtide.records.position import Point
from springtide.testing.simulator.blobs import SimBlobs
from springtide.testing.simulator.chance import Chance
from springtide.testing.simulator.damage import survivors
from springtide.testing.simulator.loop import Life, here
from springtide.testing.simulator.platter import DiskSpeed, Identity, Platter
from springtide.testing.simulator.reads import Reads
from springtide.testing.simulator.state import OBJECTS, State


class Witness(Protocol):
    """Sees what happens on every disk at the moment it does."""

    def committed(self, node: str, entries: Sequence[Entry]) -> None: ...

    def changed(self, node: str) -> None:
        """What is on the platter is less than it was, or another."""

    def violated(self, what: str) -> None: ...


class SimEngine(Reads):
    """The engine API over one platter, for one life of a process."""

    def __init__(self, platter: Platter, life: Life, chance: Chance, speed: DiskSpeed, witness: Witness) -> None:
        self._witness = witness
        self._platter = platter
        self._life = life
        self._speed = speed
        platter.opened += 1
        self._chance = chance
        self._random = chance.of("disk", platter.identity.node, platter.identity.incarnation, platter.opened)
        self._tail: list[Entry] = []  # appended, not yet synced
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        #: Called when something is appended that is not synced yet.
        self.on_unsynced: Callable[[], None] | None = None
        self._syncing: asyncio.Task[None] | None = None
        self._applying: asyncio.Task[None] | None = None
        self._applied = asyncio.Condition()
        self._pins: list[int] = []
        self._commit = platter.applied
        self._state = platter.state.copy()
        self.blobs = SimBlobs(platter, self._disk_time)
        self.on_failure: Callable[[Exception], None] = lambda error: None
        self.failed = False
        platter.identity = replace(platter.identity, starts=platter.identity.starts + 1)

    # -- identity ------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        return self._platter.identity

    @property
    def files(self) -> set[bytes]:
        return self._platter.files

    async def adopt(self, cluster: str, history: str) -> None:
        await self._identify(lambda now: replace(now, cluster=cluster, history=history))

    async def promise(self, epoch: int) -> None:
        await self._identify(lambda now: replace(now, promised=max(now.promised, epoch)))

    async def renew_incarnation(self, starts: int = 0) -> None:
        fresh = f"{self._random.getrandbits(64):016x}"
        await self._identify(lambda now: replace(now, incarnation=fresh, starts=max(starts, now.starts)))

    async def _identify(self, change: Callable[[Identity], Identity]) -> None:
        await self._disk_time()
        self._platter.identity = change(self._platter.identity)

    async def _disk_time(self) -> None:
        self._check()
        speed = self._speed
        seconds = speed.sync_seconds + self._random.random() * speed.jitter_seconds
        if self._random.random() < speed.hang_chance:
            seconds += self._random.random() * speed.hang_seconds
        health = self._platter.health
        if health.slow_seconds:
            seconds += self._random.random() * health.slow_seconds
        await asyncio.sleep(max(seconds, health.hangs_until - here().now))
        self._check()
        if health.free_bytes <= 0:
            self.failed = True
            self._check()

    def _check(self) -> None:
        if self._life.over or self.failed:
            error = errors.DiskFailed(f"the disk of {self.identity.node} failed")
            if self.failed:
                asyncio.get_running_loop().call_soon(self.on_failure, error)
            raise error

    # -- the log -------------------------------------------------------------------------------

    @property
    def last(self) -> Point:
        return self._tail[-1].point if self._tail else self._platter.last

    @property
    def oldest(self) -> Point:
        return self._platter.base

    @property
    def durable(self) -> int:
        return self._platter.last.lsn

    def point(self, lsn: int) -> Point | None:
        at = lsn - self.durable - 1
        return self._platter.point(lsn) if at < 0 else self._tail[at].point if at < len(self._tail) else None

    async def append(self, entries: Sequence[Entry]) -> None:
        """As the real one, this queues when it first runs, not when it is called."""
        self._check()
        assert self._platter.importing is None, "an import ends before entries are appended"
        synced: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        for entry in entries:
            assert entry.lsn == self.last.lsn + 1, f"entry {entry.lsn} does not follow {self.last}"
            if any(named.blob.id not in self._platter.files for named in names_in(entry)):
                self._witness.violated(f"node {self.identity.node} appends {entry.point} without the files it names")
            self._tail.append(entry)
        self._waiting.append((self.last.lsn, synced))
        if self._syncing is None or self._syncing.done():
            self._syncing = self._life.start(self._sync())
        await synced

    async def _sync(self) -> None:
        """One group of waiting entries after the other."""
        while self._waiting:
            group = list(self._tail)
            waiting, self._waiting = self._waiting, []
            if self.on_unsynced is not None:
                act, self.on_unsynced = self.on_unsynced, None
                act()
            try:
                await self._disk_time()
            except errors.DiskFailed as error:
                self._tell(waiting, error)
                return
            self._platter.entries += group
            del self._tail[: len(group)]
            self._tell(waiting, None)

    def _tell(self, waiting: list[tuple[int, asyncio.Future[None]]], error: Exception | None) -> None:
        for _, synced in waiting:
            if not synced.done():
                if error is None:
                    synced.set_result(None)
                else:
                    synced.set_exception(error)
                    synced.exception()  # a process that is gone asks no more

    async def read(self, after_lsn: int, bytes_max: int) -> tuple[Entry, ...]:
        self._check()
        flipped = self._platter.health.flipped
        if after_lsn < self.oldest.lsn:
            raise Trimmed(after_lsn, self.oldest)
        found: list[Entry] = []
        size = 0
        for entry in [*self._platter.entries[after_lsn - self.oldest.lsn :], *self._tail]:
            if entry.lsn <= after_lsn:
                continue
            size += len(entry.body)
            if found and size > bytes_max:
                break
            if entry.lsn in flipped:
                damage = errors.Damaged(f"the entry with lsn {entry.lsn} of node {self.identity.node} is damaged")
                self.damage_found(damage)
                raise damage
            found.append(entry)
        await asyncio.sleep(0)
        return tuple(found)

    async def cut(self, keep: Point) -> None:
        assert not self._tail, "nothing is being appended"
        await self._disk_time()
        assert keep.lsn >= self._commit, "what is committed is never cut"
        assert self.point(keep.lsn) == keep, "what is kept is in this log"
        at = keep.lsn - self.oldest.lsn
        if at < len(self._platter.entries):
            self._platter.diverged.append(tuple(self._platter.entries[at:]))
            del self._platter.entries[at:]
            self._witness.changed(self.identity.node)

    # -- the state -----------------------------------------------------------------------------

    @property
    def applied(self) -> int:
        return self._platter.applied

    @property
    def overlay_bytes(self) -> int:
        return sum(len(entry.body) for entry in self._platter.between(self.applied, self._commit))

    @property
    def complete(self) -> bool:
        return self._platter.importing is None and self.applied >= self._platter.complete_at

    def commit(self, lsn: int) -> list[Committed]:
        self._check()
        if lsn > self.durable:
            self._witness.violated(
                f"I3: node {self.identity.node} commits {lsn}, and its own disk ends at {self.durable}"
            )
        entries = self._platter.between(self._commit, lsn)
        self._witness.committed(self.identity.node, entries)
        done = [Committed(entry.lsn, entry.epoch, entry.kind, self._state.apply(entry)) for entry in entries]
        self._commit = max(self._commit, lsn)
        if done and (self._applying is None or self._applying.done()):
            self._applying = self._life.start(self._apply())
        return done

    async def _apply(self) -> None:
        while self.applied < self._commit and not self._life.over:
            await asyncio.sleep(self._random.random() * self._speed.apply_seconds)
            if self._life.over or self.failed:
                return
            if self.applied >= self._commit:
                return  # a copy was taken in meanwhile
            through = self._random.randint(self.applied + 1, self._commit)
            for entry in self._platter.between(self.applied, through):
                self._platter.state.apply(entry)
            self._platter.applied = through
            self._trim()
            async with self._applied:
                self._applied.notify_all()

    def _trim(self) -> None:
        needed = min([self.applied - self._speed.log_retention, *self._pins])
        oldest = self.point(max(self.oldest.lsn, needed))
        assert oldest is not None
        del self._platter.entries[: oldest.lsn - self.oldest.lsn]
        self._platter.base = oldest

    @contextmanager
    def pinned(self, lsn: int) -> Iterator[None]:
        """What follows ``lsn`` stays in the log."""
        self._pins.append(lsn)
        try:
            yield
        finally:
            asyncio.get_running_loop().call_later(PIN_SECONDS, self._pins.remove, lsn)

    async def until_applied(self, lsn: int) -> None:
        async with self._applied:
            await self._applied.wait_for(lambda: self.applied >= lsn)

    # -- snapshots -----------------------------------------------------------------------------

    def export_begin(self) -> tuple[Point, int]:
        base = self.point(self.applied)
        assert base is not None, "what is applied was in the log, or is its base"
        return base, self.object_count()

    def export(self, table: str, after_key: bytes, bytes_max: int) -> Sequence[tuple[bytes, bytes]]:
        found: list[tuple[bytes, bytes]] = []
        size = 0
        for key, value in self._platter.state.rows(table, after_key):
            if table == OBJECTS:
                self._verify(Oid(key[:8]), Tid(key[8:]))
            size += len(key) + len(value)
            if found and size > bytes_max:
                break
            found.append((key, value))
        return found

    @property
    def importing(self) -> Import | None:
        return self._platter.importing

    async def begin_import(self, base: Point, cluster: str, history: str) -> None:
        assert not self._tail, "nothing is in flight"
        await self._disk_time()
        platter = self._platter
        if platter.entries:
            platter.diverged.append(tuple(platter.entries))
        platter.entries, platter.base, platter.applied = [], base, base.lsn
        platter.state, self._state, self._commit = State(), State(), base.lsn
        platter.importing, platter.complete_at = Import(base, "", b""), base.lsn
        platter.identity = replace(platter.identity, cluster=cluster, history=history)
        self._witness.changed(platter.identity.node)

    async def import_rows(self, table: str, rows: Sequence[tuple[bytes, bytes]]) -> None:
        await self._disk_time()
        importing = self._platter.importing
        assert importing is not None, "rows belong to an import"
        for key, value in rows:
            self._platter.state.take(table, key, value)
        self._platter.importing = Import(importing.base, table, rows[-1][0])

    async def end_import(self, complete_at: int) -> None:
        await self._disk_time()
        self._platter.importing, self._platter.complete_at = None, complete_at
        self._state = self._platter.state.copy()

    async def close(self) -> None:
        """Nothing is kept back: what is synced is on the platter."""

    # -- faults --------------------------------------------------------------------------------

    def crash(self) -> int:
        """The process died. Some of what was not synced may have reached the platter all the same."""
        survived = 0
        if self._tail:
            durable = self._platter.entries[-3:]
            base = self._platter.point((durable[0].lsn if durable else self._tail[0].lsn) - 1)
            assert base is not None, "the log has no gap"
            survived = survivors(base, durable, self._tail, self._random)
        self._platter.entries += self._tail[:survived]
        self._tail = []
        self._tell(self._waiting, errors.DiskFailed("the process is gone"))
        self._waiting = []
        return survived

    def damage_found(self, error: errors.Damaged) -> None:
        asyncio.get_running_loop().call_soon(self.on_failure, error)

    def fail(self) -> None:
        """From now on the disk takes nothing more. The node is told when it next tries."""
        self.failed = True
