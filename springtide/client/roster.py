"""Which sessions exist, and which should be opened now.

No locks and no effects: ``Cluster`` holds its lock around every call, and opens and
closes what is named here.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence

from springtide.client.errors import SessionLost, WrongCluster, WrongVersion
from springtide.client.messages import Welcome
from springtide.client.routing import Directory, backoff_seconds
from springtide.client.session import Purpose, Session

#: A node that has not welcomed us by then is not waited for. Generous, because other nodes are tried at the
#: same time, and giving up adds to the load of a node that is overloaded: each attempt waits twice as long.
CONNECT_SECONDS, CONNECT_SECONDS_MAX = 10.0, 60.0
#: Head start of one address before the next is tried as well; each further one has to wait twice as long.
HEAD_START_SECONDS = 0.25
#: A session that was silent for so long is asked for a sign of life, and ends without one. Not hasty: reads and
#: commits look elsewhere by themselves much sooner, and on a starved machine this side is the slow one.
SILENT_SECONDS, LIFELESS_SECONDS = 2.0, 5.0
#: Sessions for reads are opened so long after the first one: short-lived storages need only that.
READS_AFTER_SECONDS = 0.5
#: A session that ends sooner counts as one that could not be opened.
SHORT_LIVED_SECONDS = 1.0
#: How often other nodes are asked who leads while that is in doubt.
LOOK_SECONDS = 1.0

Target = tuple[str, Purpose]


class Roster:
    """Invariant: a session is in at most one of ``opening``, ``main`` and ``readers``."""

    def __init__(self, directory: Directory, balance_reads: bool, now: float) -> None:
        self.directory = directory
        self.main: Session | None = None
        self.readers: dict[str, Session] = {}  # by node id
        self.opening: list[Session] = []
        self.look_wanted = False
        #: Why each address was of no use when it was last tried.
        self.reasons: dict[str, Exception] = {}
        self._balance_reads = balance_reads
        self._failures: dict[Target, tuple[int, float]] = {}
        self._pinged: dict[Session, float] = {}
        self._looked = self._moved = 0.0
        self._led = self._had_main = now
        self._first_main: float | None = None

    # -- what there is -------------------------------------------------------------------------------

    def primary(self) -> Session | None:
        main = self.main
        return main if main is not None and main.alive and main.node == self.directory.topology.primary else None

    def any(self) -> Session | None:
        return self.main or next(iter(self.readers.values()), None)

    def readable(self, avoid: Collection[str]) -> dict[str, Session]:
        sessions = dict(self.readers)
        if self.main is not None:
            sessions[self.main.node] = self.main
        there = {node: session for node, session in sessions.items() if node not in avoid and session.alive}
        fresh = {node: session for node, session in there.items() if not session.stale}
        return fresh or there  # rather an old snapshot, which is exact, than none

    def all(self) -> list[Session]:
        return [*self.opening, *self.readers.values(), *([self.main] if self.main else [])]

    def hopeless(self) -> Exception | None:
        """Set when every node we know of refused us for good."""
        reasons = [self.reasons.get(address) for address in self.directory.addresses()]
        final = [reason for reason in reasons if isinstance(reason, WrongCluster | WrongVersion)]
        return final[0] if final and len(final) == len(reasons) else None

    # -- what changes --------------------------------------------------------------------------------

    def take(self, session: Session, welcome: Welcome, new_history: bool) -> Sequence[Session | None]:
        """Give a welcomed session its place, if there is one; those that have none any more."""
        self._failures.pop((session.address, session.purpose), None)
        self.reasons.pop(session.address, None)
        self.directory.answered[session.address] = session.node
        self.directory.learn(welcome.topology)
        main = self.main
        if session.purpose is Purpose.PROBE:
            return (session,)
        if session.purpose is Purpose.READS:
            if main is not None and main.node == session.node:
                return (session,)
            replaced = self.readers.get(session.node)
            self.readers[session.node] = session
            return (replaced,)
        leads = session.node == self.directory.topology.primary
        better = main is not None and main.stale and not session.stale and session.node != main.node
        kept = main is not None and main.alive and not new_history and not better
        if kept and main is not None and (session.node == main.node or not leads):
            return (session,)
        self.main = session
        if leads:
            self.directory.hint = ""
        stale = tuple(self.readers.values()) if new_history else (self.readers.get(session.node),)
        self.readers = {node: r for node, r in self.readers.items() if r not in stale}
        return (main, *stale)

    def opened(self, session: Session) -> bool:
        """It was welcomed or refused; False if it was given up before."""
        if session not in self.opening:
            return False
        self.opening.remove(session)
        return True

    def lost(self, session: Session) -> None:
        self.opened(session)
        self._pinged.pop(session, None)
        if self.readers.get(session.node) is session:
            del self.readers[session.node]
        if self.main is session:
            self.main = None

    def failed(self, session: Session, reason: Exception, now: float, chance: float) -> None:
        target = session.address, session.purpose
        count, _ = self._failures.get(target, (0, 0.0))
        self._failures[target] = (count + 1, now + backoff_seconds(count, chance))
        self.reasons[session.address] = reason

    # -- what to do now ------------------------------------------------------------------------------

    def wanted(self, now: float) -> list[Target]:
        """Sessions to open now."""
        if self.primary() is not None:
            self._led = now
        if self.main is not None:
            self._had_main = now
            if self._first_main is None:
                self._first_main = now
        busy = {(session.address, session.purpose) for session in self.opening}
        return [
            target
            for target in dict.fromkeys([*self._mains(now), *self._reads(now), *self._probes(now)])
            if target not in busy and self._failures.get(target, (0, 0.0))[1] <= now
        ]

    def _mains(self, now: float) -> Iterator[Target]:
        directory, main = self.directory, self.main
        if main is not None:
            if main.stale and now - self._moved > LOOK_SECONDS:  # anybody who has news is better
                self._moved = now
                yield from ((a, Purpose.MAIN) for a in directory.addresses() if a != main.address)
            elif self.primary() is None or directory.hint:
                yield from ((a, Purpose.MAIN) for a in directory.primary_addresses() if a != main.address)
            return
        at_once = int(1 + math.log2(1 + (now - self._had_main) / HEAD_START_SECONDS))
        for address in directory.addresses():
            if at_once and self._failures.get((address, Purpose.MAIN), (0, 0.0))[1] <= now:
                at_once -= 1
                yield address, Purpose.MAIN

    def _reads(self, now: float) -> Iterator[Target]:
        first = self._first_main
        if self.main is not None and self._balance_reads and first is not None and now - first > READS_AFTER_SECONDS:
            for address in self.directory.others({self.main.node, *self.readers}):
                yield address, Purpose.READS

    def _probes(self, now: float) -> Iterator[Target]:
        if not self.look_wanted and (self.main is None or now - self._led <= LOOK_SECONDS):
            return
        if now - self._looked <= LOOK_SECONDS:
            return
        self._looked, self.look_wanted = now, False
        for address in self.directory.addresses():
            if self.main is None or address != self.main.address:
                yield address, Purpose.PROBE

    def overdue(self, now: float) -> Iterator[tuple[Session, Exception]]:
        """Sessions to end now, and why: never welcomed, or silent."""
        for session in self.opening:
            failures, _ = self._failures.get((session.address, session.purpose), (0, 0.0))
            patience = min(CONNECT_SECONDS * 2**failures, CONNECT_SECONDS_MAX)
            if now - session.started > patience:
                yield session, SessionLost(f"{session.address}: no answer in {patience:g} s")
        for session, asked in self._pinged.items():
            if session.heard < asked and now - asked > LIFELESS_SECONDS:
                yield session, SessionLost(f"{session.address}: silent for {now - session.heard:.0f} s")

    def to_ping(self, now: float) -> Iterator[Session]:
        """Sessions that should be asked for a sign of life now."""
        for session in [*self.readers.values(), *([self.main] if self.main else [])]:
            asked = self._pinged.get(session)
            if asked is not None and session.heard >= asked:
                del self._pinged[session]
                asked = None
            if asked is None and now - session.heard > SILENT_SECONDS:
                self._pinged[session] = now
                yield session
