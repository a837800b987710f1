"""The log and the commit point, for the roles of a node: called on the loop.

Two threads write: one the log, one the state. After a failed write or sync, or when damage was found,
nothing more is written, and ``on_failure`` is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from springtide import errors
from springtide.engine.appender import Appender
from springtide.engine.applier import Applier
from springtide.engine.blobs import Blobs
from springtide.engine.blobstore import BlobStore
from springtide.engine.commitpoint import CommitPoint
from springtide.engine.files import Files
from springtide.engine.log import Log
from springtide.engine.overlay import Overlay
from springtide.engine.past import PastReader
from springtide.engine.recent import Recent
from springtide.engine.state import State
from springtide.engine.sweeping import Swept
from springtide.engine.translation import with_advice
from springtide.engine.values import Committed, Decoded, EngineOptions
from springtide.records.blobs import names_in
from springtide.records.entries import Entry
from springtide.records.forget import Forget
from springtide.records.ids import Tid
from springtide.records.position import Point

T = TypeVar("T")


class Writer(PastReader):
    """Invariant: applied <= committed <= durable <= last; nothing above the commit point can be read."""

    def __init__(
        self, directory: Path, options: EngineOptions, files: Files, state: State, log: Log, tail: Sequence[Decoded]
    ) -> None:
        super().__init__(state, Overlay(state.meta.applied_tid))
        self.options = options
        #: Told once, on the loop, that a write or a sync failed, or that a read met damage: the node must stop.
        self.on_failure: Callable[[Exception], None] = lambda error: None
        #: Told on the loop, each time a pack has changed something here.
        self.on_swept: Callable[[Swept], None] = lambda swept: None
        self._directory = directory
        self._log = log
        self._files_of_blobs = Blobs(directory / "blobs", files)
        self._point = CommitPoint(state.meta, self._overlay, tail)
        self._recent = Recent(log.last, options.recent_bytes_max)
        self._generation = 0
        self._failure: Exception | None = None
        self._beginning: asyncio.Task[None] | None = None  # a begin_import at work

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads. What was being applied when the node stopped is committed, and goes on."""
        self._loop = loop
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="springtide-disk")
        self._appender = Appender(self._log, self._point.newest_tid(), self, loop)
        files = self._files_of_blobs
        self._applier = Applier(self.state, self._overlay, self.options, self, loop, files.place, files.remove)
        self.blobs = BlobStore(self._files_of_blobs, self, self._applier, loop)
        self.commit(max(self.commit_lsn, self.state.meta.applying))

    async def _stop(self) -> None:
        """Write what is queued, stop the threads, and close what was open once nobody reads it."""
        if self._beginning is not None:
            await asyncio.wait((self._beginning,))
        if hasattr(self, "_appender"):
            await asyncio.to_thread(self._appender.stop)
            await asyncio.to_thread(self._applier.stop)
            await asyncio.to_thread(self._pool.shutdown)
            await asyncio.to_thread(self.blobs.shut)
        self._point.fail(errors.Stopping("this node is closing its state"))
        await asyncio.to_thread(self.state.close)
        self._log.close()

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
        return self._guard(self._log.point, lsn) if lsn <= self.durable else None

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

        Raises ``Trimmed`` where the log begins later, ``Stopping`` where it is cut meanwhile.
        """
        found = self._recent.read(after_lsn, bytes_max)
        if found is None:
            durable = self.durable
            stored = await self._loop.run_in_executor(self._pool, self._guard, self._log.read, after_lsn, bytes_max)
            found = tuple(entry for entry in stored if entry.lsn <= durable)
        return found

    async def cut(self, keep: Point) -> Path | None:
        """Set what follows ``keep`` aside, then forget it, both durably. Returns where it is.

        Nobody sees what is cut from the moment of the call on, even if its caller is cancelled.
        """
        await self._ready()
        if self.durable != self.last.lsn or self.point(keep.lsn) != keep:
            raise errors.Broken("R8", f"the log would be cut to {keep}, which is not in it or while it is written")
        tail = self._point.above(keep.lsn)
        self._point.cut(keep.lsn)
        newest = self._point.newest_tid()
        self._recent.cut(keep)
        return await self._call_log(lambda: self._cut_log(keep, newest, tail))

    def _cut_log(self, keep: Point, newest: Tid, tail: Sequence[Decoded]) -> Path | None:
        aside = self._log.cut(keep, self._directory / "diverged", lambda path: self._set_aside(tail, path))
        self._appender.newest = newest
        return aside

    def _set_aside(self, tail: Sequence[Decoded], path: Path) -> None:
        """The files that only a tail names go with it."""
        self._files_of_blobs.set_aside([named for one in tail for named in names_in(one.entry)], path)

    def unapplied_blobs(self) -> set[bytes]:
        """Ids of the files that the log names and that have no place yet. On the loop."""
        waiting = [*self._overlay.entries(), *(one.entry for one in self._point.above(0))]
        return {named.blob.id for entry in waiting for named in names_in(entry)}

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

    @property
    def forgotten(self) -> Tid:
        """Ids of committed transactions that began below it may not be remembered. Asked after ``outcome``."""
        return self._point.forgotten

    async def forgettable(self, below: Tid, ids_max: int) -> Forget | None:
        """What a log entry may make all nodes forget next; None: no transaction below ``below`` is remembered."""
        return await asyncio.to_thread(self._guard, self.state.forgettable, below, ids_max)

    def commit(self, lsn: int) -> list[Committed]:
        """Entries through ``lsn`` are committed: visible at once, applied soon. Returns those that had not been."""
        try:
            if lsn > self.durable:
                raise errors.Broken("R3", f"{lsn} would be committed, and only {self.durable} is on this disk")
            decoded, committed = self._point.commit(lsn)
        except errors.OperatorError as error:
            self.failed(error)
            raise
        if decoded:
            self._applier.apply(decoded)
        return committed

    async def until_applied(self, lsn: int) -> None:
        """Returns when the state contains everything through ``lsn``."""
        self._check()
        if lsn > self.applied:
            self._applier.hurry()
        await self._point.until_applied(lsn)

    # -- told by the threads, on the loop ----------------------------------------------------------

    def synced(self, decoded: Sequence[Decoded]) -> None:
        if decoded:
            self._point.synced(decoded)
            self._recent.synced(decoded[-1].lsn)
            self._trim()

    def _trim(self) -> None:
        limits = (self.options.log_retention_bytes, self.applied, self.options.pinned_bytes_max)
        if self.importing is None and self._log.can_trim(*limits):
            self._appender.call(lambda: self._log.trim(*limits))

    def refused(self, generation: int, first_lsn: int) -> None:
        if generation == self._generation:
            self._generation += 1
            keep = self.point(first_lsn - 1)
            assert keep is not None, "what precedes a refused entry is in the log"
            self._recent.cut(keep)

    def swept(self, swept: Swept) -> None:
        self.on_swept(swept)

    def applied_through(self, lsn: int) -> None:
        self._point.applied_through(lsn)

    def failed(self, error: Exception) -> None:
        if self._failure is None:
            self._failure = error
            self._point.fail(error)
            self.on_failure(with_advice(error, self._directory) if isinstance(error, errors.Damaged) else error)

    def damage_found(self, error: errors.OperatorError) -> None:
        if hasattr(self, "_loop"):
            with suppress(RuntimeError):  # the loop is closed: nobody is left to be told
                self._loop.call_soon_threadsafe(self.failed, error)

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
