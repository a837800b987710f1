"""A node's disk, for the rest of the node.

The log is the truth, the state is derived from it. An entry is appended to the
log and synced; when the roles learn that it is committed, ``commit`` makes it visible
at once, in memory, and it is applied to the state in the background.

The methods for roles are called on the loop; reads may be called from any thread.
After a failed write or sync, or where a read met damage, nothing more is written,
``on_failure`` is called, and the directory must be opened anew.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from springtide import errors
from springtide.ahead import AheadFile
from springtide.engine import compaction, layout, snapshots
from springtide.engine.aside import names_aside
from springtide.engine.blobstore import names_in_rows
from springtide.engine.files import Files, writing
from springtide.engine.identity import DirectoryLock, Identity, IdentityFile, new_incarnation
from springtide.engine.log import Pin
from springtide.engine.opening import open_disk
from springtide.engine.state import State
from springtide.engine.translation import with_advice
from springtide.engine.values import EngineOptions
from springtide.engine.writer import Writer
from springtide.records.ids import TID_ZERO, Tid
from springtide.records.position import Point
from springtide.spool import FileSpool, Room, Spool, sweep

#: Free space that a compaction leaves untouched: the log goes on meanwhile.
COMPACTION_RESERVED_BYTES = 64 * 2**20


class Engine(Writer):
    """``Reader`` has what is read, ``Writer`` the log and the commit point; here is whose they are, and snapshots."""

    @classmethod
    def open(
        cls, directory: Path, node: str, options: EngineOptions | None = None, files: Files | None = None
    ) -> Engine:
        """Lock, verify and open ``directory``, or make it. Blocks; then call ``start`` on the loop.

        Raises ``Occupied``, ``ForeignDirectory``, ``NewerFormat``, ``Damaged`` or ``DiskFailed``.
        """
        files = files or Files()
        lock = DirectoryLock(directory, files)
        try:
            return cls(directory, node, options or EngineOptions(), files, lock)
        except errors.Damaged as error:
            lock.release()
            raise with_advice(error, directory) from error
        except BaseException:
            lock.release()
            raise

    def __init__(self, directory: Path, node: str, options: EngineOptions, files: Files, lock: DirectoryLock) -> None:
        self._files = files
        self._lock = lock
        self._compacting = False
        self._spools, self._room = directory / "spool", Room(options.spool_bytes_max)
        with writing(self._spools):
            files.make_directory(self._spools)
            sweep(self._spools)
        self._identity = IdentityFile(directory, node, files)
        super().__init__(directory, options, files, *open_disk(directory, self._identity, options, files))

    async def close(self) -> None:
        """Write what is queued, stop the threads, wait for readers, release the directory."""
        await self._stop()
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

    def diverged(self) -> list[str]:
        """Names of the tails that were set aside."""
        return names_aside(self._directory / "diverged")

    def headroom_bytes(self) -> int:
        """What this node may still write: the free space of its file system."""
        return self._files.free_bytes(self._directory)

    def spool(self, begin: int = 0) -> Spool:
        """A place for bytes that are too many for memory, on this node's disk. It vanishes with its last user."""
        return FileSpool(self._spools, self._room, begin)

    def stage(self, begin: int = 0) -> Spool:
        """A place for the body of a large entry, which the log takes over: beside its segments, with room for their
        head. ``begin`` bytes more are left for later."""
        return AheadFile(self._directory / "log", self._room, layout.BEFORE_BODY_BYTES + begin)

    # -- snapshots: giving one ------------------------------------------------------------------------

    def pin(self, lsn: int) -> Pin:
        """Keep the log that follows ``lsn`` for the receiver of a snapshot, until ``unpin``.

        No more than ``pinned_bytes_max``: what is beyond it is forgotten all the same.
        Raises ``Trimmed`` if it is gone.
        """
        return self._log.pin(lsn)

    def unpin(self, pin: Pin) -> None:
        """Whoever took ``pin`` needs it no more; again does no harm."""
        self._log.unpin(pin)

    # -- giving space back ----------------------------------------------------------------------------

    async def compact(self) -> tuple[int, int]:
        """Write the state anew without what is free in it, and use that; its size before and after, in bytes.

        Reads that are under way at the end of it raise ``Stopping``. Raises BadRequest or NoSpace, and Stopping
        where the state was replaced by another meanwhile.
        """
        await self._ready()
        if self._compacting or self.importing is not None:
            raise errors.BadRequest("this node compacts its state already, or copies the database")
        before, state = self.size_bytes(), self.state
        if self.headroom_bytes() < before + COMPACTION_RESERVED_BYTES:
            raise errors.NoSpace(
                f"compacting needs up to {before + COMPACTION_RESERVED_BYTES:,} free bytes beside the state; there are "
                f"{self.headroom_bytes():,}"
            )
        self._compacting, pin = True, self._log.pin(self.applied)
        try:
            compacted = await asyncio.to_thread(compaction.copy, state, self._directory, self.options)
            try:
                while (through := self.applied) - compacted.meta.applied.lsn > compaction.NEAR_ENTRIES:
                    await asyncio.to_thread(compaction.catch_up, compacted, through, self._log.read)
                if not await self._applier.call(lambda now: self._use(now, state, compacted)):
                    raise errors.Stopping("the state was replaced while it was compacted")
            except BaseException:
                compacted.close()
                raise
        finally:
            self._log.unpin(pin)
            self._compacting = False
        return before, self.size_bytes()

    def compacted_bytes(self) -> int:
        """How far ``compact`` is."""
        try:
            return (self._directory / compaction.COPYING / "data.mdb").stat().st_size
        except FileNotFoundError:
            return 0

    def _use(self, now: State, copied: State, compacted: State) -> bool:
        if now is not copied:
            return False
        compaction.catch_up(compacted, now.meta.applied.lsn, self._log.read)
        # From here on nobody reads the old one; who tries is told to ask again.
        self.state = self._applier.state = compacted
        compaction.take_its_place(now, compacted, self._directory, self._files)
        return True

    # -- snapshots: taking one in ----------------------------------------------------------------------

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
        # What another history does not contain goes, also what was committed in the one that an operator gave up.
        overridden = self.identity.history not in ("", history)
        keep = self._log.oldest if overridden else self.point(self.commit_lsn)
        if keep is not None and keep != self.last:
            tail = self._point.above(keep.lsn)
            beside = partial(self._set_aside, tail)
            await self._call_log(lambda: self._log.set_aside(keep, self._directory / "diverged", beside))
        reset = snapshots.Reset(base, cluster, history)
        await self._call_log(lambda: snapshots.announce(reset, self._directory, self._files))
        await self._applier.call(lambda state: self._exchange_state(base))
        await self._call_log(lambda: self._reset_log(base))
        await self._call_log(lambda: snapshots.settle(reset, self._directory, self._files, self._identity))
        self._point.reset(self.state.meta)
        self._recent.reset(base)
        self._beginning = None

    def _exchange_state(self, base: Point) -> None:
        self.state.close()
        self.state = snapshots.empty_state(self._directory / "state", self.identity.node, self.options, base)
        self._applier.state = self.state

    def _reset_log(self, base: Point) -> None:
        self._log.reset(base)
        self._appender.newest = TID_ZERO

    async def import_rows(self, table: str, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Store rows as another node exported them; durable, with how far they came, on return."""
        await self._ready()
        if rows:
            await self._applier.call(lambda state: self._take_in(state, table, rows))
            self._point.last_oid = max(self.last_oid, self.state.meta.last_oid)
            self._point.forgotten = max(self.forgotten, self.state.meta.forgotten)

    def _take_in(self, state: State, table: str, rows: Sequence[tuple[bytes, bytes]]) -> None:
        for named in names_in_rows(table, rows):
            self._files_of_blobs.place(named)
        state.take_in(table, rows)

    async def end_import(self, complete_at: int) -> None:
        """All rows are here; what they say is whole once ``complete_at`` is applied."""
        await self._ready()
        copied = await self._applier.call(lambda state: self._end_import(state, complete_at))
        await self._call_log(lambda: self._appender.rise(copied))

    def _end_import(self, state: State, complete_at: int) -> Tid:
        copied = state.copied_tid()
        self._overlay.rise(copied)  # before anybody may read what it names
        state.end_import(complete_at)
        return copied
