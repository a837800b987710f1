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
import os
import shutil
from collections.abc import Awaitable, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from springtide import errors
from springtide.engine import snapshots
from springtide.engine.appender import Appender
from springtide.engine.applier import Applier
from springtide.engine.decoding import decode
from springtide.engine.digests import RANGE_RECORDS, digests
from springtide.engine.files import Files
from springtide.engine.identity import DirectoryLock, Identity, IdentityFile, new_incarnation
from springtide.engine.log import Log
from springtide.engine.overlay import Overlay
from springtide.engine.reader import Reader
from springtide.engine.recent import Recent
from springtide.engine.state import State
from springtide.engine.values import Committed, Decoded, EngineOptions, Import, RangeDigest
from springtide.records.entries import Entry
from springtide.records.ids import Tid
from springtide.records.position import ORIGIN, Point

T = TypeVar("T")


class Engine(Reader):
    """Invariants: applied <= committed <= durable <= last; nothing above ``commit_lsn`` can be read."""

    # -- life --------------------------------------------------------------------------------------

    @classmethod
    def open(
        cls, directory: Path, node: str, options: EngineOptions | None = None, files: Files | None = None
    ) -> Engine:
        """Lock, verify and open ``directory``, or make it. Blocks; then call ``start`` on the loop.

        Raises ``Occupied``, ``ForeignDirectory``, ``NewerFormat``, ``Damaged`` or ``DiskFailed``.
        """
        options, files = options or EngineOptions(), files or Files()
        try:
            directory.mkdir(parents=True, exist_ok=True)
            lock = DirectoryLock(directory)
        except OSError as error:
            raise errors.DiskFailed(f"{directory} could not be opened: {error}") from error
        try:
            return cls(directory, node, options, files, lock)
        except BaseException:
            lock.release()
            raise

    def __init__(self, directory: Path, node: str, options: EngineOptions, files: Files, lock: DirectoryLock) -> None:
        self.options = options
        self.on_failure: Callable[[Exception], None] = lambda error: None
        self._directory = directory
        self._files = files
        self._lock = lock
        self._identity = IdentityFile(directory, node, files)
        state, self._log = _open_disk(directory, self._identity, options, files)
        meta = state.meta
        self._overlay = Overlay(meta.applied_tid)
        super().__init__(state, self._overlay)
        self._recent = Recent(self._log.last, options.recent_bytes_max)
        self._generation = 0
        self._failure: Exception | None = None
        self._applied = self._commit_lsn = meta.applied.lsn
        self._last_oid = meta.last_oid
        self._waiting_for_applied: list[tuple[int, asyncio.Future[None]]] = []
        self._decoded: dict[int, Decoded] = {
            entry.lsn: decode(entry) for entry in self._log.entries(meta.applied.lsn, self._log.last.lsn)
        }

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start the threads. What was being applied when the node stopped is committed, and goes on."""
        self._loop = loop
        self._pool = ThreadPoolExecutor(2, thread_name_prefix="springtide-disk")
        self._identity_lock = asyncio.Lock()
        self._appender = Appender(self._log, self, loop)
        self._applier = Applier(self.state, self._overlay, self.options, self, loop)
        if self.state.meta.applying > self._commit_lsn:
            self.commit(self.state.meta.applying)

    async def close(self) -> None:
        """Write what is queued, stop the threads, release the directory."""
        if hasattr(self, "_appender"):
            await asyncio.to_thread(self._appender.stop)
            await asyncio.to_thread(self._applier.stop)
            self._pool.shutdown()
        for _, waiting in self._waiting_for_applied:
            waiting.cancel()
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
        await self._change_identity(lambda: {"cluster": cluster, "history": history})

    async def promise(self, epoch: int) -> None:
        """Never accept anything older than ``epoch`` again."""
        await self._change_identity(lambda: {"promised": epoch} if epoch > self.identity.promised else {})

    async def renew_incarnation(self) -> None:
        """What this directory acknowledged before, it may not hold any more."""
        await self._change_identity(lambda: {"incarnation": new_incarnation()})

    async def _change_identity(self, changes: Callable[[], dict[str, str | int]]) -> None:
        self._check()
        async with self._identity_lock:
            wanted = changes()
            if any(getattr(self.identity, name) != value for name, value in wanted.items()):
                await self._in_pool(lambda: self._identity.change(**wanted))

    # -- the log -----------------------------------------------------------------------------------

    @property
    def last(self) -> Point:
        """The end of the log, synced or not."""
        return self._recent.last

    @property
    def durable(self) -> int:
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

    async def append(self, entries: Sequence[Entry]) -> None:
        """Queue ``entries``, in the order of calls; they must continue ``last``. Returns when they are synced.

        Raises ``Malformed``, and then nothing of them is written, nor anything queued after them.
        """
        self._check()
        if entries:
            self._recent.append(entries)
            await self._appender.append(entries, self._generation)

    async def read(self, after_lsn: int, bytes_max: int) -> tuple[Entry, ...]:
        """Entries that follow ``after_lsn``, synced or not: at least one where any exists, perhaps fewer than fit.

        Raises ``Trimmed`` where the log begins later.
        """
        found = self._recent.read(after_lsn, bytes_max)
        if found is None:
            found = await self._in_pool(lambda: self._log.read(after_lsn, bytes_max))
        return found

    async def cut(self, keep: Point) -> Path | None:
        """Set what follows ``keep`` aside, then forget it, both durably. Returns where it is."""
        self._check()
        assert keep.lsn >= self._commit_lsn, "what is committed is never cut"
        assert self.durable == self.last.lsn, "nothing is being appended"
        path = await self._appender.call(lambda: self._log.cut(keep, self._directory / "diverged"))
        for lsn in range(keep.lsn + 1, self.last.lsn + 1):
            del self._decoded[lsn]
        self._recent.cut(keep)
        return path

    def diverged(self) -> list[str]:
        """Names of the tails that were set aside."""
        aside = self._directory / "diverged"
        return sorted(p.name for p in aside.iterdir() if p.suffix != ".new") if aside.is_dir() else []

    # -- the commit point ----------------------------------------------------------------------------

    @property
    def commit_lsn(self) -> int:
        return self._commit_lsn

    @property
    def commit_tid(self) -> Tid:
        return self._overlay.through.tid

    @property
    def applied(self) -> int:
        return self._applied

    @property
    def last_oid(self) -> int:
        """The highest oid that a committed entry stores or hands out."""
        return self._last_oid

    @property
    def overlay_bytes(self) -> int:
        """Committed and not yet applied."""
        return self._overlay.bytes

    def commit(self, lsn: int) -> list[Committed]:
        """Entries through ``lsn`` are committed: visible at once, applied soon. Returns those that had not been."""
        assert lsn <= self.durable, "what is committed is durable here first"
        decoded = [self._decoded.pop(n) for n in range(self._commit_lsn + 1, lsn + 1)]
        if not decoded:
            return []
        self._overlay.add(decoded)
        self._commit_lsn = lsn
        self._last_oid = max(self._last_oid, *(d.highest_oid for d in decoded))
        self._applier.apply(decoded)
        return [Committed(d.lsn, d.entry.epoch, d.entry.kind, d.transaction) for d in decoded]

    async def until_applied(self, lsn: int) -> None:
        """Returns when the state contains everything through ``lsn``."""
        if self._applied < lsn:
            self._check()
            waiting: asyncio.Future[None] = self._loop.create_future()
            self._waiting_for_applied.append((lsn, waiting))
            await waiting

    # -- snapshots -------------------------------------------------------------------------------------

    @property
    def importing(self) -> Import | None:
        """The snapshot that is being taken in, and how far it came."""
        return self.state.meta.importing

    @property
    def complete(self) -> bool:
        """False while parts of the state are missing: no reads, never in sync."""
        meta = self.state.meta
        return meta.importing is None and self._applied >= meta.complete_at

    def export_begin(self) -> tuple[Point, int]:
        """Where the receiver's log begins, and about how many objects there are."""
        meta = self.state.meta
        return meta.applied, meta.objects

    def export(self, table: str, after_key: bytes, bytes_max: int) -> Sequence[tuple[bytes, bytes]]:
        """Rows of ``table`` (one of TABLES, in that order) after ``after_key``; none at its end."""
        return self._guard(snapshots.export, self.state, table, after_key, bytes_max)

    async def begin_import(self, base: Point, cluster: str, history: str) -> None:
        """Set aside what is not committed here, forget the rest, and wait for rows; the log begins at ``base``."""
        self._check()
        assert self.durable == self.last.lsn, "nothing is being appended"
        if self.last.lsn > self._commit_lsn:
            keep = self.point(self._commit_lsn)
            assert keep is not None, "the log reaches back to the commit point"
            await self._appender.call(lambda: self._log.set_aside(keep, self._directory / "diverged"))
        async with self._identity_lock:
            state = await self._applier.call(lambda old: self._begin_anew(old, base, cluster, history))
        self.state = self._applier.state = state
        self._overlay.reset(state.meta.applied_tid)
        self._recent.reset(base)
        self._decoded.clear()
        self._applied = self._commit_lsn = base.lsn
        self._last_oid = 0

    def _begin_anew(self, old: State, base: Point, cluster: str, history: str) -> State:
        snapshots.announce_reset(self._directory, self._files, base, cluster, history)
        old.close()
        state = snapshots.empty_state(self._directory / "state", self.identity.node, self.options, base)
        self._log.reset(base)
        self._identity.change(cluster=cluster, history=history)
        snapshots.reset_done(self._directory, self._files)
        return state

    async def import_rows(self, table: str, rows: Sequence[tuple[bytes, bytes]]) -> None:
        """Store rows as another node exported them; durable, with how far they came, on return."""
        self._check()
        if rows:
            await self._applier.call(lambda state: state.take_in(table, rows))
            self._last_oid = max(self._last_oid, self.state.meta.last_oid)

    async def end_import(self, complete_at: int) -> None:
        """All rows are here; what they say is whole once ``complete_at`` is applied."""
        self._check()
        await self._applier.call(lambda state: state.end_import(complete_at))
        self._overlay.rise(self.state.meta.applied_tid)

    # -- what an operator asks ---------------------------------------------------------------------------

    def object_count(self) -> int:
        return self.state.meta.objects

    def size_bytes(self) -> int:
        """Of the state; the log is bounded by itself."""
        return self.state.size_bytes()

    def headroom_bytes(self) -> int:
        """What this node may still write: the free space of its file system."""
        found = os.statvfs(self._directory)
        return found.f_bavail * found.f_frsize

    def digests(
        self, through: Tid, first: bytes = b"", last: bytes = b"", range_records: int = 0, transactions: bool = False
    ) -> Iterator[RangeDigest]:
        """Digests of what is applied, up to the tid ``through``, over objects or transactions.

        Two nodes are comparable where both have applied ``through``.
        """
        table = "transactions" if transactions else "objects"
        return digests(
            lambda *where: self._guard(self.state.rows, *where),
            table,
            through,
            first,
            last,
            range_records or RANGE_RECORDS,
        )

    # -- told by the threads, on the loop ------------------------------------------------------------------

    def synced(self, decoded: Sequence[Decoded]) -> None:
        for one in decoded:
            self._decoded[one.lsn] = one
        if decoded:
            self._recent.synced(decoded[-1].lsn)
            self._trim()

    def refused(self, generation: int, first_lsn: int) -> None:
        if generation == self._generation:
            self._generation += 1
            keep = self.point(first_lsn - 1)
            assert keep is not None, "what precedes a refused entry is in the log"
            self._recent.cut(keep)

    def applied_through(self, lsn: int) -> None:
        self._applied = lsn
        ready = [waiting for wanted, waiting in self._waiting_for_applied if wanted <= lsn]
        self._waiting_for_applied = [(wanted, w) for wanted, w in self._waiting_for_applied if wanted > lsn]
        for waiting in ready:
            if not waiting.done():
                waiting.set_result(None)

    def failed(self, error: Exception) -> None:
        if self._failure is not None:
            return
        self._failure = error
        for _, waiting in self._waiting_for_applied:
            if not waiting.done():
                waiting.set_exception(error)
        self._waiting_for_applied = []
        self.on_failure(error)

    def _trim(self) -> None:
        retention, applied = self.options.log_retention_bytes, self._applied
        if self.importing is None and self._log.can_trim(retention, applied):
            self._appender.call(lambda: self._log.trim(retention, applied))

    def _check(self) -> None:
        if self._failure is not None:
            raise errors.DiskFailed(f"this node writes no more after a failure: {self._failure}") from self._failure

    def _in_pool(self, function: Callable[[], T]) -> Awaitable[T]:
        return self._loop.run_in_executor(self._pool, function)


def _open_disk(directory: Path, identity: IdentityFile, options: EngineOptions, files: Files) -> tuple[State, Log]:
    """State and log, consistent with each other."""
    node = identity.identity.node
    announced = snapshots.announced_reset(directory)
    if announced is not None:
        base, cluster, history = announced
        shutil.rmtree(directory / "log", ignore_errors=True)
        log = Log.open(directory / "log", files, options.segment_bytes)
        log.reset(base)
        state = snapshots.empty_state(directory / "state", node, options, base)
        identity.change(cluster=cluster, history=history)
        snapshots.reset_done(directory, files)
        return state, log
    state = State(directory / "state", node, options)
    try:
        log = Log.open(directory / "log", files, options.segment_bytes)
        _check_consistent(directory, state, log)
    except BaseException:
        state.close()
        raise
    return state, log


def _check_consistent(directory: Path, state: State, log: Log) -> None:
    applied = state.meta.applied
    through = max(applied.lsn, state.meta.applying)
    if log.last.lsn < through:
        raise errors.Damaged(f"the log in {directory} ends at lsn {log.last.lsn}, but lsn {through} was applied")
    if log.oldest.lsn > applied.lsn:
        raise errors.Damaged(
            f"the log in {directory} begins after lsn {log.oldest.lsn}, but {applied} was applied last"
        )
    if applied != ORIGIN and log.point(applied.lsn) != applied:
        raise errors.Damaged(
            f"the log in {directory} has another entry at lsn {applied.lsn} than the one that was applied"
        )
