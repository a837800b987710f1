"""When the shelf is read and written: reads at once, writes behind, by one thread.

What a process is told and sees is gathered in a ``Batch`` under the view's lock, which costs commits and loads no more
than a few entries in dictionaries, and written a moment later. Whatever goes wrong with the files costs only
what was cached: the shelf is given up and begun anew.
"""

from __future__ import annotations

import atexit
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from springtide.client.messages import Purged
from springtide.client.shelf import directory
from springtide.client.shelf.batch import Batch, Change
from springtide.client.shelf.directory import Shelf
from springtide.client.shelf.rows import Identity, Known
from springtide.client.shelf.table import Found, Table
from springtide.records.ids import Oid, Tid

log = logging.getLogger(__name__)

#: What waits is written together after so long.
DELAY_SECONDS = 0.2
#: How long another process may take to bring what this one does not know, before all that is kept must be asked for.
PATIENCE_SECONDS = 10.0
#: How often readers that were killed are looked for.
READERS_SECONDS = 60.0
#: How long a change may wait for the ones before it to be written, while nobody waits for it here.
ROOM_SECONDS = 5.0
#: A directory in which it failed so often is left alone.
FAILURES_MAX = 5
#: At the end: what is not written by then is not kept.
CLOSE_SECONDS = 5.0


class Resume(NamedTuple):
    """Up to where the shelf knows, when it is opened."""

    identity: Identity
    through: Tid
    packs: int


class Keeper:
    """Invariant: ``_batch`` follows what the writing thread has written or is writing."""

    def __init__(self, path: Path, bytes_max: int, by_itself: bool = True) -> None:
        """``by_itself``: with a thread that writes; else somebody calls ``step``.

        Raises ``ConfigError`` where there can be no shelf.
        """
        directory.prepare(path)
        self.path = path
        self.bytes_max = bytes_max
        self.hits = self.misses = 0
        self._by_itself = by_itself
        #: Whether a revision is worth another turn, as far as this process knows; called without a lock.
        self.in_use: Callable[[Oid, Tid], bool] = lambda oid, tid: False
        self._identity: Identity | None = None
        self._batch: Batch | None = None  # None: it is not known up to where everything was told
        self._shelf: Shelf | None = directory.opened(path, bytes_max)
        self._retired: Shelf | None = None  # to be closed by whoever writes next
        self._to_open = False  # after a fork: when it is next used
        self._off = False  # the directory is of no use
        self._failures = 0
        self._make_locks()
        _keepers.add(self)

    def _make_locks(self) -> None:
        self._lock = threading.Lock()  # around the batch
        self._writing = threading.Lock()  # around files
        self._work = threading.Event()
        self._room = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None
        self._closed = False
        self._impatient_at: float | None = None
        self._readers_at = 0.0
        self._process = os.getpid()
        self._held_for_fork = False

    def fork_begins(self, deadline: float) -> None:
        """LMDB does not survive a fork: both sides open the files anew, when they next use them."""
        self._held_for_fork = self._writing.acquire(timeout=max(0.0, deadline - time.monotonic()))
        if self._held_for_fork:
            self._flush(patient=True)  # so that what the child brings follows it
            for shelf in (self._shelf, self._retired):
                if shelf is not None:
                    shelf.close(sync=False)
            self._to_open = self._to_open or self._shelf is not None
            self._shelf = self._retired = None

    def fork_ended(self) -> None:
        if self._held_for_fork:
            self._held_for_fork = False
            self._writing.release()

    def forked(self) -> None:
        """In a child: what the parent gathered it writes itself."""
        usable = self._held_for_fork or self._shelf is None
        self._make_locks()
        directory.forked()
        self._batch = None
        if not usable:
            self._shelf, self._retired, self._off = None, None, True

    # -- at the start ------------------------------------------------------------------------------

    def resume(self) -> Resume | None:
        shelf = self._shelf
        if shelf is None:
            return None
        try:
            state = shelf.table.state()
        except Exception as error:
            self._give_up(shelf, error)
            return None
        return Resume(shelf.identity, state.through, state.packs)

    def begin(self, identity: Identity, through: Tid, packs: int) -> None:
        """From here on everything is told."""
        with self._lock:
            self._identity = identity
            self._batch = Batch(through, packs)
            shelf = self._shelf
            if shelf is not None and shelf.identity != identity:
                self._retired, self._shelf = shelf, None  # at once: nobody may read it any more
        self._wake()

    # -- what is told and seen; the view's lock is held -----------------------------------------------

    def change(self, before: Tid, change: Change, packs: int, may_wait: bool) -> None:
        """What changed after ``before``, up to which everything, and all of ``packs``, has been told."""
        if self._idle:
            return
        with self._lock:
            batch = self._following(before, packs)
            if may_wait and batch.full and not self._closed:
                self._wake()
                self._room.wait_for(lambda: self._batch is not batch or self._closed, ROOM_SECONDS)
                batch = self._following(before, packs)
            batch.change(change)
        self._wake()

    def purge(self, seen: Tid, packs_before: int, purged: Purged) -> None:
        if self._idle:
            return
        with self._lock:
            self._following(seen, packs_before).purge(purged)
        self._wake()

    def record(
        self, seen: Tid, packs: int, oid: Oid, tid: Tid, data: bytes, next_tid: Tid | None, as_of: Tid | None
    ) -> None:
        """A revision: what follows it, or when nothing did; with neither, it is current at ``seen``."""
        if self._idle:
            return
        with self._lock:
            batch = self._following(seen, packs)
            if next_tid is not None:
                batch.add(oid, tid, data, Known.ENDED, next_tid)
            elif as_of is not None:
                batch.add(oid, tid, data, Known.BOUNDED, as_of)
            else:
                batch.add(oid, tid, data, Known.OPEN)
        self._wake()

    @property
    def _idle(self) -> bool:
        return self._closed or self._off

    def _following(self, seen: Tid, packs: int) -> Batch:
        if self._batch is None:
            self._batch = Batch(seen, packs)
        return self._batch

    # -- reading -----------------------------------------------------------------------------------

    def newest(self, oid: Oid, before: Tid) -> Found | None:
        """The newest revision before ``before`` that is kept, and what is known of it."""
        return self._read(lambda table: table.newest(oid, before))

    def exactly(self, oid: Oid, tid: Tid) -> Found | None:
        return self._read(lambda table: table.exactly(oid, tid))

    def _read(self, read: Callable[[Table], Found | None]) -> Found | None:
        if self._to_open:
            self._open_again()
        shelf = self._shelf
        if shelf is None:
            return None
        try:
            return read(shelf.table)
        except Exception as error:
            self._give_up(shelf, error)
            return None

    def _open_again(self) -> None:
        with self._writing:
            if self._to_open and (identity := self._identity) is not None:
                self._to_open = False
                self._shelf = self._matching(identity)

    def count(self, hit: bool) -> None:
        """Somebody wanted to read something that was not in memory."""
        if hit:
            self.hits += 1
        else:
            self.misses += 1

    def statistics(self) -> dict[str, object]:
        known: dict[str, object] = {"directory": str(self.path), "bytes_max": self.bytes_max}
        known |= {"hits": self.hits, "misses": self.misses, "bytes": 0, "revisions": 0}
        shelf = self._shelf
        if shelf is not None:
            try:
                known |= shelf.table.statistics()
            except Exception as error:
                self._give_up(shelf, error)
        return known

    # -- writing -----------------------------------------------------------------------------------

    def flush(self, patient: bool = False) -> bool:
        """Write what waits. ``patient``: rather wait on than end the run of what is kept. Whether nothing waits now."""
        with self._writing:
            return self._flush(patient)

    def _flush(self, patient: bool) -> bool:
        identity = self._identity
        if self._retired is not None:
            retired, self._retired = self._retired, None
            retired.close()
        if identity is None or not self._batch or self._idle:
            return True
        shelf = self._shelf
        try:
            if shelf is None or not shelf.in_use:
                shelf = self._reopened(identity)
            if shelf is None or (patient and not shelf.table.follows(self._batch)):
                return False
            with self._lock:
                batch = self._batch
                self._batch = Batch(batch.through, batch.packs)
                self._room.notify_all()
            shelf.table.write(batch, self.in_use)
        except Exception as error:
            self._give_up(shelf, error)
        return True

    def _reopened(self, identity: Identity) -> Shelf | None:
        """What is in use in the directory now, or a new one."""
        old, self._shelf = self._shelf, None
        if old is not None:
            old.close()
        self._to_open = False
        self._shelf = self._matching(identity)
        if self._shelf is None and not self._off:
            with self._lock:
                assert self._batch is not None, "there is something to write"
                since, packs = self._batch.since, self._batch.packs_since
            self._shelf = directory.begun(self.path, self.bytes_max, lambda table: table.begin(identity, since, packs))
        return self._shelf

    def _matching(self, identity: Identity) -> Shelf | None:
        """What is in use in the directory, if it is of this history."""
        shelf = directory.opened(self.path, self.bytes_max)
        if shelf is None:
            return None
        if shelf.identity == identity:
            return shelf
        if shelf.identity.cluster != identity.cluster and shelf.shared:
            self._off = True
            log.error(
                "the cache in %s is used by clients of cluster %s: give those of cluster %s a cache_dir of their own. "
                "Until then this one caches in memory only",
                *(self.path, shelf.identity.cluster, identity.cluster),
            )
        else:
            log.warning("dropping the cache in %s: it is of another history", self.path)
        shelf.close()
        return None

    def _give_up(self, shelf: Shelf | None, error: Exception) -> None:
        if shelf is None:
            log.warning("the cache in %s cannot be begun: %s", self.path, error)
            self._off = True
        elif shelf is self._shelf:
            log.warning("dropping the cache in %s: %s", self.path, error)
            self._shelf = None
            self._failures += 1
            self._off = self._failures >= FAILURES_MAX
            try:
                shelf.discard()
                shelf.close()
            except Exception:
                log.exception("the cache in %s could not be dropped", self.path)

    # -- the thread --------------------------------------------------------------------------------

    def _wake(self) -> None:
        if self._thread is None and self._by_itself and not self._closed:
            thread = threading.Thread(target=_write, args=(weakref.ref(self), self._work), daemon=True)
            thread.name = "springtide-cache"
            with suppress(RuntimeError):  # no thread can be had now: the next one who brings something asks again
                thread.start()
                self._thread = thread
        self._work.set()

    def step(self, now: float) -> None:
        """One turn of the thread."""
        if self.flush(patient=self._impatient_at is None or now < self._impatient_at):
            self._impatient_at = None
        elif self._impatient_at is None:
            self._impatient_at = now + PATIENCE_SECONDS
        if now >= self._readers_at and (shelf := self._shelf) is not None:
            self._readers_at = now + READERS_SECONDS
            shelf.table.forget_dead_readers()

    @property
    def waiting(self) -> bool:
        """Whether there is something to write."""
        return bool(self._batch) and not self._idle

    def close(self, seconds: float = CLOSE_SECONDS) -> None:
        """Write what waits, and let go of the files.

        Where something is missing before it, it is dropped rather: whoever begins next is told all of it.
        """
        if self._process != os.getpid() or self._closed:
            return
        if not self._writing.acquire(timeout=seconds):
            self._closed = True
            return
        try:
            self._flush(patient=True)
            self._closed = True
            shelf, self._shelf = self._shelf, None
            if shelf is not None:
                shelf.close()
        except Exception:
            log.exception("closing the cache in %s failed", self.path)
        finally:
            self._writing.release()
        self._work.set()
        with self._lock:
            self._room.notify_all()

    @property
    def closed(self) -> bool:
        return self._closed


_keepers: weakref.WeakSet[Keeper] = weakref.WeakSet()


def _write(keeper: weakref.ref[Keeper], work: threading.Event) -> None:
    """The thread. It holds the keeper only while it writes."""
    while True:
        work.wait(READERS_SECONDS)
        time.sleep(DELAY_SECONDS)
        work.clear()
        kept = keeper()
        if kept is None or kept.closed:
            return
        try:
            kept.step(time.monotonic())
        except Exception:
            log.exception("writing the cache in %s failed; going on", kept.path)
        if kept.waiting:
            work.set()
        del kept


@atexit.register
def _at_exit() -> None:
    for keeper in list(_keepers):
        keeper.close(1.0)
