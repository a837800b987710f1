"""A node's disk, for the rest of the node.

The log is the truth, the state is derived from it. An entry is appended to the
log and synced; when the roles learn that it is committed, ``commit`` makes it visible
at once, in memory, and it is applied to the state in the background.

Two threads write: one the log, one the state. The methods for roles are called on
the loop; reads may be called from any thread. After a failed write or sync nothing
more is written, ``on_failure`` is called, and the directory must be opened anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from springtide import errors
from springtide.engine import snapshots
from springtide.engine.appender import Appender
from springtide.engine.applier import Applier
from springtide.engine.aside import names_aside
from springtide.engine.commitpoint import CommitPoint
from springtide.engine.files import Files
from springtide.engine.identity import DirectoryLock, Identity, IdentityFile, new_incarnation
from springtide.engine.opening import open_disk
from springtide.engine.overlay import Overlay
from springtide.engine.reader import Reader
from springtide.engine.recent import Recent
from springtide.engine.values import Committed, Decoded, EngineOptions
from springtide.records.entries import Entry
from springtide.records.position import Point

T = TypeVar("T")


class Engine(Reader):
    """Invariant: applied <= committed <= durable <= last; nothing above the commit point can be read."""

    @classmethod
    def open(
        cls, directory: Path, node: str, options: EngineOptions | None = None, files: Files | None = None
    ) -> Engine:
        """Lock, verify and open ``directory``, or make it. Blocks; then call ``start`` on the loop.

        Raises ``Occupied``, ``ForeignDirectory``, ``NewerFormat``, ``Damaged`` or ``DiskFailed``.
        """
        lock = DirectoryLock(directory)
        try:
            return cls(directory, node, options or EngineOptions(), files or Files(), lock)
        except BaseException:
            lock.release()
            raise

    def __init__(self, directory: Path, node: str, options: EngineOptions, files: Files, lock: DirectoryLock) -> None:
        self.options = options
        #: Told once, on the loop, that a write or a sync failed: the node must stop.
        self.on_failure: Callable[[Exception], None] = lambda error: None
        self._directory = directory
        self._files = files
        self._lock = lock
        self._identity = IdentityFile(directory, node, files)
        state, self._log, tail = open_disk(directory, self._identity, options, files)
        super().__init__(state, Overlay(state.meta.applied_tid))
        self._point = CommitPoint(state.meta, self._overlay, tail)
        self._recent = Recent(self._log.last, options.recent_bytes_max)
        self._generation = 0
        self._failure: Exception | None = None
        self._beginning: asyncio.Task[None] | None = None  # a begin_import at work

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads. What was being applied when the node stopped is committed, and goes on."""
        self._loop = loop
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="springtide-disk")
        self._appender = Appender(self._log, self, loop)
        self._applier = Applier(self.state, self._overlay, self.options, self, loop)
        self.commit(max(self.commit_lsn, self.state.meta.applying))

    async def close(self) -> None:
        """Write what is queued, stop the threads, release the directory."""
        if self._beginning is not None:
            await asyncio.wait((self._beginning,))
        if hasattr(self, "_appender"):
            await asyncio.to_thread(self._appender.stop)
            await asyncio.to_thread(self._applier.stop)
            await asyncio.to_thread(self._pool.shutdown)
        self._point.fail(errors.Stopping("this node is closing its state"))
        self.closed = True
        self.state.close()
        self._log.close()
        self._lock.release()

    # -- who this is -------------------------------------------------------------------------------

    @property
    def identity(self) -> Identity:
        return self._identity.identity

    async def adopt(self, cluster: str, history: str) -> None:
        """This directory belongs to a cluster, on this history, from now on."""
        if (self.identity.cluster, self.identity.history) != (cluster, history):
            await self._call_log(lambda: self._identity.change(cluster=cluster, history=history))

    async def promise(self, epoch: int) -> None:
        """Never accept anything older than ``epoch`` again."""
        if epoch > self.identity.promised:
            await self._call_log(lambda: self._identity.change(promised=max(epoch, self.identity.promised)))

    async def renew_incarnation(self, starts: int = 0) -> None:
        """What this directory acknowledged before, it may not hold any more. Its starts count from ``starts`` on."""
        counted = max(starts, self.identity.starts)
        await self._call_log(lambda: self._identity.change(incarnation=new_incarnation(), starts=counted))

    # -- the log -----------------------------------------------------------------------------------

    @property
    def last(self) -> Point:
        """The end of the log, synced or not."""
        return self._recent.last

    @property
    def durable(self) -> int:
        """The last lsn that is synced."""
        return self._recent.durable

    @property
    def oldest(self) -> Point:
        """What the log can continue from."""
        return self._log.oldest

    def point(self, lsn: int) -> Point | None:
        """The point at ``lsn``, if the log has it."""
        if lsn == self.last.lsn:
            return self.last
        entry = self._recent.get(lsn)
        if entry is not None:
            return entry.point
        return self._log.point(lsn) if lsn <= self.durable else None

    def append(self, entries: Sequence[Entry]) -> Awaitable[None]:
        """Queue ``entries``, which continue ``last``: it moves at the call. The result is ready when they are synced.

        Raises ``Malformed`` from there, and then nothing of them is written, nor anything queued after them.
        """
        self._check()
        assert self._beginning is None or self._beginning.done(), "nothing is appended while a snapshot begins"
        if not entries:
            return asyncio.sleep(0)
        self._recent.append(entries)
        return self._appender.append(entries, self._generation)

    async def read(self, after_lsn: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries that follow ``after_lsn``, synced or not: at least one where any exists, perhaps fewer than fit.

        Raises ``Trimmed`` where the log begins later.
        """
        found = self._recent.read(after_lsn, bytes_max)
        if found is None:
            durable = self.durable
            stored = await self._loop.run_in_executor(self._pool, self._log.read, after_lsn, bytes_max)
            found = tuple(entry for entry in stored if entry.lsn <= durable)
        return found

    async def cut(self, keep: Point) -> Path | None:
        """Set what follows ``keep`` aside, then forget it, both durably. Returns where it is.

        Nobody sees what is cut from the moment of the call on, even if its caller is cancelled.
        """
        await self._ready()
        assert self.durable == self.last.lsn, "nothing is being appended"
        assert self.point(keep.lsn) == keep, "what is kept is in this log"
        self._point.cut(keep.lsn)
        self._recent.cut(keep)
        return await self._call_log(lambda: self._log.cut(keep, self._directory / "diverged"))

    def diverged(self) -> list[str]:
        """Names of the tails that were set aside."""
        return names_aside(self._directory / "diverged")

    def headroom_bytes(self) -> int:
        """What this node may still write: the free space of its file system."""
        return self._files.free_bytes(self._directory)

    # -- the commit point --------------------------------------------------------------------------

    @property
    def commit_lsn(self) -> int:
        return self._point.committed

    @property
    def applied(self) -> int:
        return self._point.applied

    @property
    def last_oid(self) -> int:
        """The highest oid that a committed entry stores or hands out."""
        return self._point.last_oid

    def commit(self, lsn: int) -> list[Committed]:
        """Entries through ``lsn`` are committed: visible at once, applied soon. Returns those that had not been."""
        assert lsn <= self.durable, "what is committed is durable here first"
        decoded, committed = self._point.commit(lsn)
        if decoded:
            self._applier.apply(decoded)
        return committed

    async def until_applied(self, lsn: int) -> None:
        """Returns when the state contains everything through ``lsn``."""
        self._check()
        if lsn > self.applied:
            self._applier.hurry()
        await self._point.until_applied(lsn)

    # -- snapshots ---------------------------------------------------------------------------------

    @property
    def complete(self) -> bool:
        """False while parts of the state are missing: no reads, never in sync."""
        arrived = self._beginning is None and self.importing is None
        return arrived and self.applied >= self.state.meta.complete_at

    async def begin_import(self, base: Point, cluster: str, history: str) -> None:
        """Set aside what is not committed here, forget the rest, and wait for rows; the log begins at ``base``.

        Once begun this is finished, even if its caller is cancelled or the node stops.
        """
        await self._ready()
        assert self.durable == self.last.lsn, "nothing is being appended"
        self._beginning = self._loop.create_task(self._begin_anew(base, cluster, history))
        await asyncio.shield(self._beginning)

    async def _begin_anew(self, base: Point, cluster: str, history: str) -> None:
        keep = self.point(self.commit_lsn)
        if keep is not None and keep != self.last:
            await self._call_log(lambda: self._log.set_aside(keep, self._directory / "diverged"))
        reset = snapshots.Reset(base, cluster, history)
        await self._call_log(lambda: snapshots.announce(reset, self._directory, self._files))
        await self._applier.call(lambda state: self._exchange_state(base))
        await self._call_log(lambda: self._log.reset(base))
        await self._call_log(lambda: snapshots.settle(reset, self._directory, self._files, self._identity))
        self._point.reset(self.state.meta)
        self._recent.reset(base)
        self._beginning = None

    def _exchange_state(self, base: Point) -> None:
        self.closed = True
        self.state.close()
        self.state = snapshots.empty_state(self._directory / "state", self.identity.node, self.options, base)
        self._applier.state = self.state
        self.closed = False

    async def import_rows(self, table: str, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Store rows as another node exported them; durable, with how far they came, on return."""
        await self._ready()
        if rows:
            await self._applier.call(lambda state: state.take_in(table, rows))
            self._point.last_oid = max(self.last_oid, self.state.meta.last_oid)

    async def end_import(self, complete_at: int) -> None:
        """All rows are here; what they say is whole once ``complete_at`` is applied."""
        await self._ready()
        await self._applier.call(lambda state: state.end_import(complete_at))
        self._overlay.rise(self.state.meta.applied_tid)

    # -- told by the threads, on the loop ----------------------------------------------------------

    def synced(self, decoded: Sequence[Decoded]) -> None:
        if decoded:
            self._point.synced(decoded)
            self._recent.synced(decoded[-1].lsn)
            retention, applied = self.options.log_retention_bytes, self.applied
            if self.importing is None and self._log.can_trim(retention, applied):
                self._appender.call(lambda: self._log.trim(retention, applied))

    def refused(self, generation: int, first_lsn: int) -> None:
        if generation == self._generation:
            self._generation += 1
            keep = self.point(first_lsn - 1)
            assert keep is not None, "what precedes a refused entry is in the log"
            self._recent.cut(keep)

    def applied_through(self, lsn: int) -> None:
        self._point.applied_through(lsn)

    def failed(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._point.fail(error)
            self.on_failure(error)

    async def _ready(self) -> None:
        self._check()
        if self._beginning is not None:
            await asyncio.shield(self._beginning)

    def _check(self) -> None:
        if self._failure is not None:
            raise errors.DiskFailed(f"this node writes no more after a failure: {self._failure}") from self._failure

    def _call_log(self, function: Callable[[], T]) -> Awaitable[T]:
        self._check()
        return self._appender.call(function)
