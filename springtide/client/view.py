"""What this process has seen of the database, for those who read it and those who commit to it.

``told`` has how it changes, and the one lock.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from contextlib import AbstractContextManager

from springtide.client.events import Ticket
from springtide.client.shelf.table import Found
from springtide.client.told import Told
from springtide.records.ids import Oid, Tid


class View(Told):
    """Invariant: everything up to ``last`` has been told to the wrapper and to what is kept."""

    # -- what reading threads do ---------------------------------------------------------------------

    def wait_known(self, seconds: float) -> bool:
        """Wait until the last tid is known, that is, until any node was reached."""
        return self._known.wait(seconds)

    def wait_for(self, tid: Tid, seconds: float) -> bool:
        """Wait until everything through ``tid`` has been seen."""
        with self.lock:
            return self._advanced.wait_for(lambda: self.last is not None and self.last >= tid, seconds)

    def fetch(self, oid: Oid, before: Tid) -> Found | None:
        """The newest revision before ``before`` on the shelf; what can be known of it is in the cache then.

        Without the lock: this may read a disk.
        """
        beginnings = self.kept.beginnings
        found = None if self.shelf is None else self.shelf.newest(oid, before)
        if found is None:
            return None
        with self.lock:
            if beginnings != self.kept.beginnings:
                return None
            self.kept.fetched(found)
            return found

    def fetch_exactly(self, oid: Oid, tid: Tid) -> bytes | None:
        """The record of this revision, if it is on the shelf and certainly still exists. Without the lock."""
        beginnings = self.kept.beginnings
        found = None if self.shelf is None else self.shelf.exactly(oid, tid)
        if found is None:
            return None
        with self.lock:
            certain = beginnings == self.kept.beginnings and not found.doubted and found.packs >= self.kept.packs
            return found.data if certain else None

    # -- what committing threads do ------------------------------------------------------------------

    def give_up(self, ticket: Ticket) -> bool:
        """Stop waiting with this ticket; False if the turn was handed to it meanwhile."""
        return self.turns.give_up(ticket)

    def overlook(self, ticket: Ticket) -> None:
        """The thread of this ticket goes away: its commit, if it came to one, is a change like any other."""
        self.turns.overlook(ticket, lambda tid: self._change(tid, ticket.oids))

    @property
    def mine(self) -> bool:
        """Whether this thread holds the turn: it runs within the callback of a commit."""
        return self.turns.mine

    def turn(self, ticket: Ticket | None = None) -> AbstractContextManager[None]:
        """Hold the turn and the lock. A ticket that was handed the turn already has it."""
        return self.turns.turn(ticket)

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
        mine = tuple(oids)
        told = False
        try:
            callback(tid)
            told = True
        finally:  # it is committed all the same: whom the callback has not reached must hear of it
            if late or not told:
                self._wrapper.invalidate(tid, late if told else mine)
            if self.last is None or tid > self.last:
                if self._leap is not None:
                    self._wrapper.invalidate(tid, tuple(self._leap.oids))
                self._advance(tid, mine)
                for oid, data in written.items():
                    if data is not None:
                        self.kept.written(oid, data, tid)

    def owe(self, tid: Tid, callback: Callable[[Tid], object], oids: Collection[Oid]) -> None:
        """Within a turn: our own transaction ``tid`` is committed, and nobody has told what was committed before it.

        Until that is told, everybody goes on at ``last``, the committing connection too, and what the transaction
        wrote cannot be read.
        """
        self.owed.add(tid, callback, oids)
        if self.last is not None:
            self._wrapper.invalidate(self.last, oids)
