"""What this process has seen of the database: the last tid, the cache, and the one lock.

ZODB relies on an order: a transaction's invalidations reach the wrapper before
``lastTransaction`` shows its tid, in the order of tids, and whoever reads after that
sees the new state. So all of this changes together, under ``lock``, which every
read takes at its start.

Changes come as events, in the order in which the session's node sent them. One
thread at a time has the **turn** to apply them: normally the one that reads the
session, but it hands the turn to a committing thread when that one's finish is next,
because ZODB's callback runs there. The reading thread never waits for the lock while a
callback runs, so a callback may load: what is not cached is answered as usual, at
the snapshot before the commit. (Another thread started by a callback waits for it.
A callback must not commit another transaction on the same storage.)
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from springtide.client.cache import Cache, Recent
from springtide.client.events import Changed, Event, Packed, Prefetched, Purged, Restart, Ticket, Turn
from springtide.client.messages import Loaded
from springtide.records.ids import TID_ZERO, Oid, Tid, next_tid

log = logging.getLogger(__name__)


@dataclass
class _Wrapper:
    """ZODB's end of the storage, held weakly: the storage must be collectable."""

    get: Callable[[], Any] = field(default=lambda: None)

    def invalidate(self, tid: Tid, oids: Collection[Oid]) -> None:
        """Whoever cannot take it has nothing cached that is certain: all of it goes, before anybody sees ``tid``."""
        if (wrapper := self.get()) is None:
            return
        try:
            wrapper.invalidate(tid, oids)
        except Exception:
            log.exception("invalidating failed: all connections drop what they cached")
            self.invalidate_all()

    def invalidate_all(self) -> None:
        if (wrapper := self.get()) is None:
            return
        try:
            wrapper.invalidateCache()
        except Exception:  # a storage that wraps this one, and on which nobody has opened a database yet
            log.warning("%r cannot be told that its cache is invalid", type(wrapper), exc_info=True)

    def forked(self) -> None:
        """A thread that is not here may hold a lock of ZODB's adapter, which every commit would wait for."""
        wrapper = self.get()
        for each in (wrapper, *getattr(wrapper, "_instances", ())):
            if hasattr(each, "_lock"):
                each._lock = threading.Lock()


class View:
    """Invariant: everything up to ``last`` has been told to the wrapper and the cache."""

    def __init__(self, cache_bytes: int) -> None:
        self.cache = Cache(cache_bytes)
        self.recent = Recent()
        self.last: Tid | None = None
        #: One above ``last``: no snapshot that is read is later.
        self.bound: Tid = next_tid(TID_ZERO)
        self.history = ""
        #: How many packs of that history have been applied to the cache.
        self.packs = 0
        self.watchers: list[Callable[[Collection[Oid]], None]] = []
        self._wrapper = _Wrapper()
        self._make_locks()

    def _make_locks(self) -> None:
        self.lock = threading.RLock()
        self._advanced = threading.Condition(self.lock)
        self._known = threading.Event()
        if self.last is not None:
            self._known.set()
        self._events_lock = threading.Lock()
        self._events: deque[Event] = deque()
        self._taken = False
        self._held_for_fork = False
        self._turn_of: int | None = None  # the thread that holds the turn in ``turn``
        self._attached: object | None = None

    def fork_begins(self, deadline: float) -> None:
        """Hold the lock, so that the child's copy of all this is not half changed."""
        self._held_for_fork = self.lock.acquire(timeout=max(0.0, deadline - time.monotonic()))

    def fork_ended(self) -> None:
        if self._held_for_fork:
            self._held_for_fork = False
            self.lock.release()

    def forked(self) -> None:
        """In a new process: no thread of the parent's holds a lock or the turn here."""
        self._make_locks()
        self._wrapper.forked()

    def register(self, wrapper: Any) -> None:
        try:
            self._wrapper = _Wrapper(weakref.ref(wrapper))
        except TypeError:
            self._wrapper = _Wrapper(lambda: wrapper)

    def unregister(self) -> None:
        """Nobody is told of anything any more; whoever is being told now has been when this returns."""
        with self.lock:
            self._wrapper = _Wrapper()

    # -- what sessions say; none of these waits for the lock while a callback runs -----------------

    def attach(self, session: object, last: Tid, history: str, packs: int = 0) -> None:
        """From now on ``session`` tells what changes. Call ``apply`` afterwards, without locks."""
        with self._events_lock:
            self._attached = session
            if history != self.history:
                self.history = history
                self._events.append(Restart(last, history, packs))
            else:
                self._events.append(Packed(packs))

    def has_seen(self, tid: Tid) -> bool:
        """Whether everything through ``tid``, in the history that sessions follow now, has been applied."""
        with self._events_lock:
            restarting = self._taken or any(isinstance(event, Restart) for event in self._events)
            return not restarting and self.last is not None and tid <= self.last

    def changed(self, session: object, tid: Tid, oids: tuple[Oid, ...]) -> None:
        with self._events_lock:
            if session is self._attached:  # else another session took over, and tells the same
                self._events.append(Changed(tid, oids))
        self.apply()

    def purged(self, session: object, packs: int, oids: tuple[Oid, ...]) -> None:
        with self._events_lock:
            if session is self._attached:
                self._events.append(Purged(packs, oids))
        self.apply()

    def finished(self, session: object, tid: Tid, ticket: Ticket) -> None:
        with self._events_lock:
            in_order = session is self._attached
            if in_order:
                self._events.append(Turn(ticket, tid))
        if in_order:
            self.apply()
        else:
            ticket.pending.settle(tid)  # committed, but no longer in order here: not handed

    def prefetched(self, loaded: Loaded, history: str) -> None:
        with self._events_lock:
            self._events.append(Prefetched(loaded, history))
        self.apply()

    def apply(self) -> None:
        """Take the turn, unless another thread has it and will do this, and apply what came."""
        with self._events_lock:
            if self._taken:
                return
            self._taken = True
        self._go_on()

    def _go_on(self) -> None:
        while True:
            with self._events_lock:
                if not self._events:
                    self._taken = False
                    return
                event = self._events.popleft()
                if isinstance(event, Turn) and not event.ticket.given_up:
                    event.ticket.handed = True
            if isinstance(event, Turn) and event.ticket.handed:
                event.ticket.pending.settle(event.tid)
                return  # that thread has the turn now
            try:
                self._apply(event)
            except Exception:
                # The wrapper must not fail; if it does, what it has cached is suspect.
                log.exception("invalidating failed: all connections drop what they cached")
                self._wrapper.invalidate_all()

    def _apply(self, event: Event) -> None:
        with self.lock:
            match event:
                case Changed(tid, oids):
                    self._change(tid, oids)
                case Turn(ticket, tid) if tid is not None:
                    self._change(tid, ticket.oids)
                case Prefetched(loaded, history) if history == self.history:
                    self.keep(loaded)
                case Purged(packs, oids) if packs > self.packs:
                    self._purge(packs, oids)
                case Packed(packs) if packs > self.packs:
                    self._missed_packs(packs)
                case Restart(last, _, packs):
                    self._restart(last, packs)

    def _change(self, tid: Tid, oids: tuple[Oid, ...]) -> None:
        if self.last is not None and tid <= self.last:
            return  # told twice: around a change of session, or our own finish
        try:
            self._wrapper.invalidate(tid, oids)
        finally:
            self._advance(tid, oids)

    def _advance(self, tid: Tid, oids: tuple[Oid, ...]) -> None:
        self.cache.invalidate(tid, oids)
        self.recent.add(tid, oids)
        for watcher in self.watchers:
            watcher(oids)
        self.last, self.bound = tid, next_tid(tid)
        self._advanced.notify_all()

    def _purge(self, packs: int, oids: tuple[Oid, ...]) -> None:
        """These objects do not exist any more: connections forget them when their next transaction begins."""
        self.packs = packs
        self.cache.purge(oids)
        if self.last is not None and oids:
            self._wrapper.invalidate(self.last, oids)

    def _missed_packs(self, packs: int) -> None:
        """Of what was missed, packs have taken something away: revisions, so that the changes that will be told
        may name only the last of several, and objects, which nobody will name. What is cached stays true up to
        here; what is true of it beyond is asked, record by record, without loading it again.
        """
        self.packs = packs
        if self.last is not None:
            self.cache.bound(self.last)
            self.recent.restart(self.last)

    def _restart(self, last: Tid, packs: int) -> None:
        """Another history: what is known of the old one says nothing about this one."""
        if self.last is not None:
            log.warning("the cluster's history changed by force: dropping everything cached")
            self.cache.clear()
            self._wrapper.invalidate_all()
        self.last, self.bound = last, next_tid(last)
        self.packs = packs
        self.recent.restart(last)
        self._known.set()
        self._advanced.notify_all()

    # -- what reading and committing threads do ----------------------------------------------------

    def wait_known(self, seconds: float) -> bool:
        """Wait until the last tid is known, that is, until any node was reached."""
        return self._known.wait(seconds)

    def wait_for(self, tid: Tid, seconds: float) -> bool:
        """Wait until everything through ``tid`` has been seen."""
        with self.lock:
            return self._advanced.wait_for(lambda: self.last is not None and self.last >= tid, seconds)

    def keep(self, loaded: Loaded) -> None:
        """Cache an answer. The lock is held.

        Not one that was read before a pack that is known here: what the pack took away would never be told again.
        """
        if loaded.found and self.last is not None and loaded.packs >= self.packs:
            known = loaded.tid, loaded.next_tid, loaded.as_of
            self.cache.add(loaded.oid, loaded.data, *known, self.recent, self.last)

    def give_up(self, ticket: Ticket) -> bool:
        """Stop waiting with this ticket; False if the turn was handed to it meanwhile."""
        with self._events_lock:
            ticket.given_up = not ticket.handed
            return ticket.given_up

    def overlook(self, ticket: Ticket) -> None:
        """The thread of this ticket goes away: its commit, if it came to one, is a change like any other."""
        if not self.give_up(ticket):
            tid = ticket.pending.wait(None)
            with self.turn(ticket):
                if tid is not None:
                    self._change(tid, ticket.oids)

    @property
    def mine(self) -> bool:
        """Whether this thread holds the turn: it runs within the callback of a commit."""
        return self._turn_of == threading.get_ident()

    @contextmanager
    def turn(self, ticket: Ticket | None = None) -> Iterator[None]:
        """Hold the turn and the lock. A ticket that was handed the turn already has it."""
        if self.mine:
            yield
            return
        if ticket is None or not ticket.handed:
            ticket = Ticket()
            with self._events_lock:
                self._events.append(Turn(ticket, None))
            self.apply()
            try:
                ticket.pending.wait(None)  # only another transaction's callback can be in the way
            except BaseException:
                self.overlook(ticket)
                raise
        try:
            with self.lock:
                self._turn_of = threading.get_ident()
                try:
                    yield
                finally:
                    self._turn_of = None
        finally:
            self._go_on()

    def commit(
        self,
        tid: Tid,
        callback: Callable[[Tid], object],
        written: Mapping[Oid, bytes | None],
        oids: Iterable[Oid],
        late: Collection[Oid] = (),
    ) -> None:
        """Within a turn: our own transaction ``tid`` is committed, tell everybody in the right order.

        Of the objects in ``late`` the committing connection, too, holds another state than was committed:
        they are invalidated everywhere, and it drops them when its next transaction begins.
        """
        try:
            callback(tid)
            if late:
                self._wrapper.invalidate(tid, late)
        except BaseException:
            # It is committed all the same; whom the callback has not reached must reload.
            self._wrapper.invalidate_all()
            raise
        finally:
            if self.last is None or tid > self.last:
                self._advance(tid, tuple(oids))
                for oid, data in written.items():
                    if data is not None:
                        self.cache.written(oid, data, tid)

    def jump(self, tid: Tid) -> None:
        """Within a turn: go on from ``tid`` without what lies before it, which nobody would tell."""
        if self.last is not None and tid > self.last:
            self._wrapper.invalidate_all()
            self.cache.bound(self.last)
            self.last, self.bound = tid, next_tid(tid)
            self.recent.restart(tid)
            self._advanced.notify_all()
