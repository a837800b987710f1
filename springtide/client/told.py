"""What sessions tell, applied in the order in which they tell it: which tid is shown, what is cached, who hears of it.

ZODB relies on an order: a transaction's invalidations reach the wrapper before ``lastTransaction`` shows its tid, in
the order of tids, and whoever reads after that sees the new state. So all of this changes together, under ``lock``,
which every read takes at its start. Which thread applies an event is said in ``turns``; what it changes, here.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Collection
from typing import Any

from springtide.client.events import Changed, Continued, Event, Prefetched, Restart, Resumed, Ticket, Turn
from springtide.client.kept import Kept
from springtide.client.leap import Leap
from springtide.client.messages import Loaded, Purged, Welcome
from springtide.client.owed import Owed
from springtide.client.shelf.keeper import Keeper, Resume
from springtide.client.shelf.rows import Identity
from springtide.client.turns import Turns
from springtide.client.wrapper import Wrapper
from springtide.records.ids import TID_ZERO, Oid, Tid, next_tid

log = logging.getLogger(__name__)


class Told:
    """Invariant: everything up to ``last`` has been told to the wrapper and to what is kept."""

    def __init__(self, cache_bytes: int, shelf: Keeper | None = None) -> None:
        self.kept = Kept(cache_bytes, shelf)
        self.cache, self.recent, self.shelf = self.kept.cache, self.kept.recent, shelf
        #: What a process that starts knows from those before it, until a session has taken it up.
        self.resume: Resume | None = None if shelf is None else shelf.resume()
        #: What is kept is shown, as ``last``, once it is as new as the node was when the first session
        #: began, packs included: a process that starts is not to read the past.
        self._awaited = (TID_ZERO, 0)
        self.last: Tid | None = None
        #: One above ``last``: no snapshot that is read is later.
        self.bound: Tid = next_tid(TID_ZERO)
        self.history = ""
        self.watchers: list[Callable[[Collection[Oid]], None]] = []
        #: Told of objects that a pack has taken away.
        self.purge_watchers: list[Callable[[Collection[Oid]], None]] = []
        #: Ends a session of which something could not be applied.
        self.broken: Callable[[Any], None] = lambda session: None
        #: While it is not known through when what is kept is true, or of which history that is.
        self._unsettled = False
        self._leap: Leap | None = None
        self.owed = Owed()
        self._wrapper = Wrapper()
        self.turns = Turns(self._apply, self._failed)
        self._make_conditions()

    def _make_conditions(self) -> None:
        self.lock = self.turns.lock
        self._advanced = threading.Condition(self.lock)
        self._known = threading.Event()
        if self.last is not None:
            self._known.set()
        self._held_for_fork = False

    def fork_begins(self, deadline: float) -> None:
        """Hold the lock, so that the child's copy of all this is not half changed."""
        self._held_for_fork = self.lock.acquire(timeout=max(0.0, deadline - time.monotonic()))
        if self.shelf is not None:
            self.shelf.fork_begins(deadline)

    def fork_ended(self) -> None:
        if self.shelf is not None:
            self.shelf.fork_ended()
        if self._held_for_fork:
            self._held_for_fork = False
            self.lock.release()

    def forked(self) -> None:
        """In a new process: no thread of the parent's holds a lock or the turn here."""
        self.turns.forked()
        self._make_conditions()
        self._wrapper.forked()
        if self.shelf is not None:
            self.shelf.forked()

    def close(self) -> None:
        if self.shelf is not None:
            self.shelf.close()

    def register(self, wrapper: Any) -> None:
        self._wrapper = Wrapper(wrapper)

    def unregister(self) -> None:
        """Nobody is told of anything any more; whoever is being told now has been when this returns."""
        with self.lock:
            self._wrapper = Wrapper()

    # -- what sessions say; none of these waits for the lock while a callback runs -----------------

    @property
    def since(self) -> tuple[Tid, int] | None:
        """From where on a session that is opened now should tell what changed, and what packs took away."""
        if self._unsettled:
            return None
        if not self.history:
            return None if self.resume is None else (self.resume.through, self.resume.packs)
        leap, packs, seen = self._leap, self.kept.packs, self.kept.seen  # whichever is older does no harm
        return None if seen is None else (seen if leap is None else leap.through, packs)

    def has_resumable(self, cluster: str, history: str) -> bool:
        """Whether what is kept is of this history; if not, it is of no use any more."""
        if self.resume is not None and self.resume.identity != (cluster, history):
            self.resume = None
        return self.resume is not None

    def attach(self, session: object, welcome: Welcome, since: Tid | None = None) -> None:
        """From now on ``session`` tells what changes, or, where it was asked to, what has changed ``since``.

        Call ``apply`` afterwards, without locks.
        """
        with self.turns.events_lock:
            event = self._beginning(welcome, since)
            self._unsettled = not isinstance(event, Continued)
            self.turns.attach(session, event)
            self.history = welcome.history

    def _beginning(self, welcome: Welcome, since: Tid | None) -> Event:
        if welcome.history == self.history:
            return Continued(welcome.packed)
        resumable = not self.history and self.has_resumable(welcome.cluster, welcome.history)
        if resumable and self.resume is not None and since == self.resume.through:
            return Resumed(welcome.last_tid, welcome.packs, welcome.packed)
        return Restart(welcome.last_tid, welcome.history, welcome.packs, welcome.cluster)

    def has_seen(self, tid: Tid, packs: int) -> bool:
        """Whether everything through these, in the history that sessions follow now, has been applied."""
        if self.turns.is_waiting(Restart, Resumed) or self._leap is not None:
            return False
        return self.kept.seen is not None and tid <= self.kept.seen and packs <= self.kept.packs

    def changed(self, session: object, tid: Tid, oids: tuple[Oid, ...]) -> None:
        self.turns.told(session, Changed(tid, oids))

    def purged(self, session: object, purged: Purged) -> None:
        self.turns.told(session, purged)

    def finished(self, session: object, tid: Tid, ticket: Ticket) -> None:
        if not self.turns.told(session, Turn(ticket, tid)):
            ticket.pending.settle(tid)  # committed, but no longer in order here: not handed

    def prefetched(self, loaded: Loaded, history: str) -> None:
        self.turns.put(Prefetched(loaded, history))

    def apply(self) -> None:
        """Apply what came, unless another thread does."""
        self.turns.go()

    def _failed(self, error: Exception) -> None:
        """Our own mistake, or no memory: nothing is shown of what could not be applied, and it is asked for again."""
        session = self.turns.detach()
        log.error("what a node told could not be applied; it is asked for again", exc_info=error)
        with self.turns.events_lock:
            if self._unsettled:  # so that the next session begins anew
                self._unsettled, self.history, self.resume = False, "", None
        if session is not None:
            self.broken(session)

    def keep(self, loaded: Loaded) -> None:
        """Cache an answer. The lock is held."""
        if self.last is not None:
            self.kept.loaded(loaded)

    def _apply(self, event: Event) -> None:
        """The lock is held."""
        match event:
            case Changed(tid, oids):
                self._change(tid, oids)
            case Turn(ticket, tid) if tid is not None:
                self._change(tid, ticket.oids)
            case Prefetched(loaded, history) if history == self.history:
                self.keep(loaded)
            case Purged() if event.packs > self.kept.packs:
                self._purge(event)
            case Continued(packed):
                self._may_leap(packed)
            case Resumed(last, packs, packed):
                self._resume(last, packs, packed)
            case Restart(last, history, packs, cluster):
                self._restart(last, packs, Identity(cluster, history))

    def _may_leap(self, packed: Tid) -> None:
        if self._leap is not None:
            self._leap.further(packed)
        elif self.kept.seen is not None and self.kept.seen < packed:
            self._leap = Leap(self.kept.seen, packed)

    def _change(self, tid: Tid, oids: tuple[Oid, ...]) -> None:
        if self.kept.seen is not None and tid <= self.kept.seen:
            return  # told twice: around a change of session, or our own finish
        if self._leap is None:
            self._wrapper.invalidate(tid, oids)
        elif self._leap.add(tid, oids):
            self._wrapper.invalidate(tid, tuple(self._leap.oids))
        else:
            return  # nothing can be shown yet
        self._advance(tid, oids)

    def _advance(self, tid: Tid, oids: tuple[Oid, ...]) -> None:
        leap = self._leap
        if leap is not None:
            leap.add(tid, oids)
            oids = tuple(leap.oids)
        self.kept.change(tid, oids, may_wait=self.last is None, leapt=leap is not None)
        self._leap = None
        for watcher in self.watchers:
            watcher(oids)
        self.owed.pay(tid)
        self._show()

    def _show(self) -> None:
        seen = self.kept.seen
        if seen is not None and seen >= self._awaited[0] and self.kept.packs >= self._awaited[1]:
            self.last, self.bound = seen, next_tid(seen)
            self._known.set()
        self._advanced.notify_all()

    def _purge(self, purged: Purged) -> None:
        """These objects do not exist any more: connections forget them when their next transaction begins."""
        oids = purged.oids
        self.kept.purge(purged)
        for watcher in self.purge_watchers:
            watcher(oids)
        if self.last is None:
            self._show()
        elif oids:
            self._wrapper.invalidate(self.last, oids)

    def _resume(self, last: Tid, packs: int, packed: Tid) -> None:
        resume = self.resume
        assert resume is not None, "it was there when the session was opened"
        self._awaited = (last, packs)
        self.kept.resume(resume)
        self._may_leap(packed)
        self.resume, self._unsettled = None, False
        self._show()

    def _restart(self, last: Tid, packs: int, identity: Identity) -> None:
        """Another history: what is known of the old one says nothing about this one."""
        if self.last is not None:
            log.warning("the cluster's history changed by force: dropping everything cached")
            self._wrapper.invalidate_all()
            self._wrapper.invalidate(last, ())  # transactions begin at it, though they have begun at later ones
        self.resume, self._awaited, self._leap = None, (TID_ZERO, 0), None
        self.owed.forget()
        self.kept.restart(last, packs, identity)
        self._unsettled = False
        self._show()
