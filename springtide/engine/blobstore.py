"""The files of blobs, for the roles and services of a node: called on the loop, done in threads.

A failed write or sync ends the node, as everywhere in the engine; a full disk does not, because what arrives can be
refused and removed again.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Collection, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import ParamSpec, Protocol, TypeVar
from weakref import WeakValueDictionary

from springtide import errors
from springtide.engine import layout
from springtide.engine.applier import Applier
from springtide.engine.blobs import Blobs
from springtide.engine.intake import Part
from springtide.engine.limits import check_row
from springtide.engine.state import State
from springtide.engine.values import MIB, Loaded
from springtide.records.blobs import Named
from springtide.records.entries import Blob, Malformed
from springtide.records.ids import Oid, Tid

P = ParamSpec("P")
R = TypeVar("R")

#: Files are read, hashed, written and synced by so many threads: a few that wait for a sync hold nobody else up.
_THREADS = 8
#: Files are read in steps of this: a few are under way at a time for each that asks, and all of them are memory.
CHUNK_BYTES = MIB // 4
#: Rows are read in steps of this.
_ROWS_BYTES = 4 * MIB
#: Revisions that a scrub looks up before others get their turn.
_SCRUBBED_AT_ONCE = 1_000


class Rows(Protocol):
    """What rows say of files, and whom a failure is told."""

    state: State

    @property
    def commit_tid(self) -> Tid: ...
    def load_serial(self, oid: Oid, tid: Tid) -> Loaded: ...
    def unapplied_blobs(self) -> set[bytes]: ...
    def failed(self, error: Exception) -> None: ...


class Intake:
    """A file that arrives, on the loop. See ``Part``; ``part`` is None for one that is here already."""

    def __init__(self, store: BlobStore, blob: Blob, part: Part | None) -> None:
        self._store = store
        self._part = part
        self._size = blob.size

    @property
    def held(self) -> int:
        return self._size if self._part is None else self._part.held

    async def write(self, data: bytes) -> None:
        """Raises BadRequest or NoSpace: nothing is kept then."""
        if self._part is not None:
            await self._store.call(self._part.write, data)

    async def finish(self) -> None:
        """Raises BadRequest where the content has another digest: nothing is kept then."""
        if self._part is not None:
            await self._store.call(self._part.finish)


class BlobStore:
    def __init__(self, files: Blobs, rows: Rows, applier: Applier, loop: asyncio.AbstractEventLoop) -> None:
        self.files = files
        self._rows = rows
        self._applier = applier
        self._loop = loop
        self._pool = ThreadPoolExecutor(_THREADS, thread_name_prefix="springtide-blobs")
        self._is_shut = False
        self._receiving: WeakValueDictionary[bytes, asyncio.Lock] = WeakValueDictionary()

    def shut(self) -> None:
        """Blocks until what is at work is done; who comes later gets ``Stopping``."""
        self._is_shut = True
        self._pool.shutdown()

    async def call(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
        """Run it in a thread. A disk that fails is told to the node; a cancellation waits for the end of it."""
        if self._is_shut:
            raise errors.Stopping("this node is closing its files")
        work = self._loop.run_in_executor(self._pool, lambda: function(*arguments, **named))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait((work,))
            raise
        except errors.DiskFailed as error:
            self._rows.failed(error)
            raise

    # -- taking in ---------------------------------------------------------------------------------

    async def lacking(self, names: Sequence[Named]) -> list[Named]:
        """Those of these files that are not here, synced. One that repeats a committed file is made from that."""
        return await self.call(self._lacking, names) if names else []

    def _lacking(self, names: Sequence[Named]) -> list[Named]:
        return [named for named in names if not self.files.holds(named) and not self._repeated(named)]

    def _repeated(self, named: Named) -> bool:
        if named.data_tid is None:
            return False
        try:
            former = self._rows.load_serial(named.oid, named.data_tid).blob
        except errors.TryAgain:
            return False  # a copy of the database is on its way: the file will come over the network
        if former is None or (former.size, former.digest) != (named.blob.size, named.blob.digest):
            return False
        sources = (self.files.path(named.oid, named.data_tid), self.files.waiting(former))
        return any(self.files.repeat(named.blob, source) for source in sources)

    async def lacking_rows(self, table: str, rows: Sequence[tuple[bytes, bytes]]) -> list[Named]:
        """Files that rows of a snapshot name and that are not here; those that an older copy left are compared.

        Raises Malformed.
        """
        names = names_in_rows(table, rows)
        return await self.call(self._lacking_rows, names) if names else []

    def _lacking_rows(self, names: Sequence[Named]) -> list[Named]:
        return [one for one in names if not self.files.waits(one.blob) and not self.files.verify(one)]

    async def held_bytes(self, blob: Blob) -> int:
        """How much is here of a file that is not committed."""
        return await self.call(self.files.held_bytes, blob)

    @asynccontextmanager
    async def receive(self, blob: Blob, offset: int | None = None) -> AsyncIterator[Intake]:
        """Go on writing a file, at ``offset`` or at what is here. One at a time; what came is kept at the end.

        Raises BadRequest where less than ``offset`` is here, NoSpace where the disk is full.
        """
        lock = self._receiving.setdefault(blob.id, asyncio.Lock())
        async with lock:
            if await self.call(self.files.waits, blob):
                yield Intake(self, blob, None)
                return
            start = min(blob.size, await self.held_bytes(blob)) if offset is None else offset
            part = await self.call(self.files.receive, blob, start)
            try:
                yield Intake(self, blob, part)
            finally:
                await self.call(part.close)

    async def give_up(self, blob: Blob) -> None:
        """The revision is no more where its file was: its entry is taken in without."""
        await self.call(self.files.give_up, blob)

    async def forget(self, ids: Collection[bytes]) -> None:
        """Free files of a transaction that will not be. Those that the log names stay."""
        for id in set(ids) - self._rows.unapplied_blobs():
            await self.call(self.files.forget, id)

    async def sweep(self, voted: Collection[bytes], older_than: float) -> list[str]:
        """Remove files that neither the log nor these votes name, untouched for so many seconds."""
        return await self.call(self.files.sweep, self._rows.unapplied_blobs() | set(voted), older_than)

    # -- giving ------------------------------------------------------------------------------------

    def blob_of(self, oid: Oid, tid: Tid) -> Blob | None:
        """What is said of the file of a committed revision. None where there is no revision, or it has no file."""
        return self._rows.load_serial(oid, tid).blob

    async def open(self, named: Named) -> int:
        """A file descriptor of a committed file. Raises BlobMissing."""
        return await self.call(self.files.open, named)

    async def find(self, named: Named) -> int | None:
        """A file descriptor, for another node that must hold the file; None: its revision is packed away.

        Raises BlobMissing where this node lacks it.
        """
        waiting = await self.call(self.files.open_waiting, named.blob)
        if waiting is not None:
            return waiting
        if named.tid is not None:
            known = self.blob_of(named.oid, named.tid)
            if known is not None and known.id == named.blob.id:
                return await self.open(named)
            if known is None and named.tid <= self._rows.commit_tid:
                return None
        raise errors.BlobMissing(f"blob {named.blob.id.hex()} of oid {named.oid.hex()} is not on this node")

    async def read(self, fd: int, offset: int) -> AsyncGenerator[bytes, None]:
        """The file from ``offset`` on, in chunks. Closes it."""
        try:
            while data := await self.call(os.pread, fd, CHUNK_BYTES, offset):
                offset += len(data)
                yield data
        finally:
            os.close(fd)

    # -- care --------------------------------------------------------------------------------------

    async def check(self, through: Tid) -> AsyncIterator[tuple[int, int, list[str]]]:
        """Read every file that a revision at or below ``through`` has: how many, their bytes, what is wrong with them.

        A few at a time. Raises what reading the state raises.
        """
        state, start = self._rows.state, b""
        while rows := await self.call(state.rows, "objects", start, _ROWS_BYTES):
            start = rows[-1][0] + b"\0"
            names = [one for one in names_in_rows("objects", rows) if one.tid is not None and one.tid <= through]
            if names:
                problems = [problem for one in names if (problem := await self._problem(one))]
                yield len(names), sum(one.blob.size for one in names), problems

    async def _problem(self, named: Named) -> str:
        assert named.tid is not None, "it has a row"
        if await self.call(self.files.verify, named) or self.blob_of(named.oid, named.tid) != named.blob:
            return ""  # it is right, or packed away meanwhile
        path = self.files.path(named.oid, named.tid)
        return f"{path} is not what was committed" if path.exists() else f"{path} is missing"

    async def scrub(self) -> int:
        """Remove committed files that no row names: what a copy of the database replaced. How many there were."""
        state = self._rows.state
        if not state.is_whole:
            return 0
        through, found, removed = state.meta.applied_tid, self.files.committed(), 0
        while batch := await self.call(_take, found, _SCRUBBED_AT_ONCE):
            orphans = await self.call(_without_row, state, [one for one in batch if one[1] <= through])
            for oid, tid in orphans:
                removed += await self._applier.call(partial(self._remove_orphan, state, oid, tid))
        return removed

    def _remove_orphan(self, then: State, oid: Oid, tid: Tid, now: State) -> int:
        if now is not then or not _without_row(now, [(oid, tid)]):
            return 0
        self.files.remove(oid, tid)
        return 1


def names_in_rows(table: str, rows: Sequence[tuple[bytes, bytes]]) -> list[Named]:
    """The files that rows of a snapshot name. Raises Malformed for rows that are none."""
    found = []
    for key, value in rows if table == "objects" else ():
        if value[layout.FLAGS_AT : layout.FLAGS_AT + 1] and value[layout.FLAGS_AT] & layout.HAS_BLOB:
            check_row(table, key, value)
            try:
                write = layout.decode_record(key, value)
            except errors.Damaged as error:
                raise Malformed(str(error)) from error
            assert write.blob is not None, "its flags say so"
            found.append(Named(write.blob, write.oid, Tid(key[8:]), write.data_tid))
    return found


def _take(found: Iterator[tuple[Oid, Tid]], count: int) -> list[tuple[Oid, Tid]]:
    return list(itertools.islice(found, count))


def _without_row(state: State, revisions: Sequence[tuple[Oid, Tid]]) -> list[tuple[Oid, Tid]]:
    return [(oid, tid) for oid, tid in revisions if state.get("objects", oid + tid) is None]
