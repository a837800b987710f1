"""Who applies what sessions tell, and when: one thread at a time, in the order of the node that tells.

One thread has the **turn**: normally the one that reads the session, but it hands the turn to a committing
thread when that one's finish is next, because ZODB's callback runs there. The reading thread never waits for
the lock while a callback runs, so a callback may load: what is not cached is answered as usual, at
the snapshot before the commit. (Another thread started by a callback waits for it. A callback must not commit
another transaction on the same storage.)
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from springtide.client.events import Event, Ticket, Turn
from springtide.records.ids import Tid


class Turns:
    """Invariant: of the events that were put, all before the one that is being applied have been."""

    def __init__(self, apply: Callable[[Event], None], failed: Callable[[Exception], None]) -> None:
        """``apply`` is called with ``lock`` held; what it raises goes to ``failed``."""
        self._apply = apply
        self._failed = failed
        self.forked()

    def forked(self) -> None:
        """In a new process: no thread of the parent's holds a lock or the turn here."""
        #: Around everything that is seen: taken by whoever has the turn, and by every read.
        self.lock = threading.RLock()
        #: Around the events, for moments only.
        self.events_lock = threading.RLock()
        self._events: deque[Event] = deque()
        self._taken = False
        self._turn_of: int | None = None  # the thread that holds the turn in ``turn``
        self._attached: object | None = None

    # -- events; nobody waits for ``lock`` here while a callback runs ---------------------------------

    def attach(self, session: object, event: Event) -> None:
        """From now on ``session`` tells what happens; before that, ``event`` does. Call ``go`` then, without locks."""
        with self.events_lock:
            self._attached = session
            self._events.append(event)

    def put(self, event: Event) -> None:
        with self.events_lock:
            self._events.append(event)
        self.go()

    def told(self, session: object, event: Event) -> bool:
        """Whether ``session`` is the one that tells; if not, another one took over, and tells the same."""
        with self.events_lock:
            in_order = session is self._attached
            if in_order:
                self._events.append(event)
        if in_order:
            self.go()
        return in_order

    def detach(self) -> object | None:
        """The session that tells, no more from now on; what it told and was not applied is forgotten."""
        with self.events_lock:
            session, self._attached = self._attached, None
            waiting, self._events = self._events, deque()
            for event in waiting:
                if not isinstance(event, Turn):
                    continue
                if event.tid is None:
                    self._events.append(event)
                elif not event.ticket.given_up:
                    event.ticket.pending.settle(event.tid)  # committed, but no longer in order here: not handed
        return session

    def is_waiting(self, *kinds: type) -> bool:
        """Whether an event of these kinds may not have been applied yet."""
        with self.events_lock:
            return self._taken or any(isinstance(event, kinds) for event in self._events)

    def go(self) -> None:
        """Take the turn, unless another thread has it and will do this, and apply what came."""
        with self.events_lock:
            if self._taken:
                return
            self._taken = True
        self._go_on()

    def _go_on(self) -> None:
        while True:
            with self.events_lock:
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
                with self.lock:
                    self._apply(event)
            except Exception as error:
                self._failed(error)

    # -- turns -----------------------------------------------------------------------------------------

    def give_up(self, ticket: Ticket) -> bool:
        """Stop waiting with this ticket; False if the turn was handed to it meanwhile."""
        with self.events_lock:
            ticket.given_up = not ticket.handed
            return ticket.given_up

    def overlook(self, ticket: Ticket, otherwise: Callable[[Tid], None]) -> None:
        """The thread of this ticket goes away. Where it was handed the turn, its commit goes to ``otherwise``."""
        if not self.give_up(ticket):
            tid = ticket.pending.wait(None)
            with self.turn(ticket):
                if tid is not None:
                    otherwise(tid)

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
            self.put(Turn(ticket, None))
            try:
                ticket.pending.wait(None)  # only another transaction's callback can be in the way
            except BaseException:
                self.overlook(ticket, lambda tid: None)
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
