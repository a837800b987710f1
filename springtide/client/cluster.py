"""The sessions with the nodes of one cluster, kept alive.

There is one **main** session, with the primary where it can be reached, else with
any node, so that reads and invalidations go on; and one session for **reads** with
every other node. A keeper thread opens what is missing and ends what is silent;
sessions report to this object from their reading threads. Which sessions there
should be is decided in ``roster``.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from springtide.client import messages
from springtide.client.errors import (
    ClusterUnavailable,
    Refused,
    SessionLost,
    StorageClosed,
    WrongCluster,
    WrongVersion,
    translated,
)
from springtide.client.events import Ticket
from springtide.client.roster import SHORT_LIVED_SECONDS, Roster
from springtide.client.routing import Balance, Directory, Topology
from springtide.client.session import Purpose, Session
from springtide.client.view import View
from springtide.records.ids import Oid, Tid
from springtide.wire.channels import Tls, blocking
from springtide.wire.v1 import session_pb2 as wire
from springtide.wire.v1.records_pb2 import CODE_NOT_CAUGHT_UP

log = logging.getLogger(__name__)

#: How often the keeper looks: quickly while commits wait for a primary.
LEADERLESS_SECONDS, QUIET_SECONDS = 0.02, 0.25

#: Kept for ever: collecting a parent's channels in a child would wait for threads that are not here.
_PARENTS: list[object] = []


@dataclass(frozen=True, slots=True)
class Settings:
    nodes: tuple[str, ...]
    label: str = ""
    tls: Tls | None = None
    balance_reads: bool = True


class Cluster:
    def __init__(self, settings: Settings, view: View) -> None:
        self.settings = settings
        self.view = view
        self.id = ""
        self.limits = messages.Limits()
        self.directory = Directory(settings.nodes)
        self.balance = Balance()
        self.closed = False
        #: Set without any lock, by a finalizer: nobody uses the storage any more.
        self.abandoned = False
        self._history_epoch = 0
        self._new_history = False
        self._reset()
        view.broken = self._broken

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._keeper: threading.Thread | None = None
        self._forking = False
        self._roster = Roster(self.directory, self.settings.balance_reads, time.monotonic())

    def fork_begins(self, deadline: float) -> None:
        """End all sessions and their threads, and open none, until the fork is over."""
        with self._changed:
            self._forking = True
            keeper = self._keeper
            self._changed.notify_all()
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(max(0.0, deadline - time.monotonic()))
        with self._changed:
            sessions = self._roster.all()
        for session in sessions:
            session.close()
        if not all(session.join(deadline) for session in sessions):
            log.warning("this process forks while sessions with nodes are still in use: the child may hang")

    def fork_ended(self) -> None:
        with self._changed:
            self._forking = False
            if self._keeper is not None and not self.closed:
                self._keeper = None
                self._ensure_kept()
            self._changed.notify_all()

    def forked(self) -> None:
        """In a new process: the parent's sessions are not ours, not even to close."""
        for session in self._roster.all():
            session.alive = False
        _PARENTS.append(self._roster)
        self._reset()

    # -- what the rest of the client asks for --------------------------------------------------------

    def primary(self, deadline: float) -> Session:
        """The session with the primary."""
        return self._wait(lambda: self._roster.primary(), deadline, "no session with a primary")

    def any(self, deadline: float) -> Session:
        """A session with whatever node, the primary's by preference."""
        return self._wait(lambda: self._roster.any(), deadline, "no node can be reached")

    def reader(self, deadline: float, avoid: Collection[str], of_primary: bool = False) -> Session:
        """A session to read on, not with a node in ``avoid`` if there is another; counted in ``balance``."""
        with self._changed:
            if avoid and not self._roster.readable(avoid):
                self._changed.wait(min(0.02, max(0.0, deadline - time.monotonic())))
            if of_primary:
                session = self.primary(deadline)
            else:
                session = self._wait(lambda: self._choose(avoid), deadline, "no node can be reached")
            self.balance.started(session.node)
            return session

    def look_around(self) -> None:
        """What we are told or not told suggests that another node leads: ask the others soon."""
        with self._changed:
            self._roster.look_wanted = True
            self._changed.notify_all()

    def redirected(self, session: Session, primary: str) -> None:
        """``session``'s node says that it is not the primary, and perhaps who is."""
        with self._changed:
            if primary and primary != session.address:
                self.directory.hint = primary
        self.look_around()

    def pause(self, deadline: float) -> None:
        """Before a request is repeated: until something about the sessions changes, or a moment."""
        with self._changed:
            self._changed.wait(min(random.uniform(0.01, 0.05), max(0.0, deadline - time.monotonic())))

    def noted(self, note: Callable[[Balance], None]) -> None:
        with self._changed:
            note(self.balance)

    def known_id(self, deadline: float) -> str:
        if not self.id:
            self.any(deadline)
        return self.id

    def check_open(self) -> None:
        if self.closed:
            raise StorageClosed("the storage is closed")

    def close(self) -> None:
        with self._changed:
            if self.closed:
                return
            self.closed = True
            sessions = self._roster.all()
            keeper = self._keeper
            self._changed.notify_all()
        for session in sessions:
            session.close()
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(1.0)
        self.view.close()

    def _wait(self, choose: Callable[[], Session | None], deadline: float, what: str) -> Session:
        with self._changed:
            while True:
                self.check_open()
                self._ensure_kept()
                if (session := choose()) is not None:
                    return session
                if (hopeless := self._roster.hopeless()) is not None:
                    raise hopeless
                remaining = deadline - time.monotonic()
                if remaining <= 0:
                    reasons = "; ".join(map(str, self._roster.reasons.values())) or "no answer in time"
                    raise ClusterUnavailable(
                        f"{what} of {', '.join(self.directory.addresses())}: {reasons}; check the addresses and that "
                        "the nodes run"
                    )
                self._changed.wait(remaining)

    def _choose(self, avoid: Collection[str]) -> Session | None:
        sessions = self._roster.readable(avoid) or self._roster.readable(())
        node = self.balance.choose(sessions, time.monotonic(), random.random())
        return None if node is None else sessions[node]

    # -- the keeper ------------------------------------------------------------------------------------

    def _ensure_kept(self) -> None:
        if self._keeper is None and not self._forking:
            self._keeper = threading.Thread(target=self._keep, name="springtide-keeper", daemon=True)
            self._keeper.start()

    def _keep(self) -> None:
        while not self.closed and not self._forking:
            if self.abandoned:
                self.close()
                return
            try:
                self._step(time.monotonic())
            except Exception:
                log.exception("keeping the sessions failed; going on")
            with self._changed:
                if not self.closed and not self._forking:
                    self._changed.wait(LEADERLESS_SECONDS if self._roster.primary() is None else QUIET_SECONDS)

    def _step(self, now: float) -> None:
        with self._changed:
            overdue = list(self._roster.overdue(now))
            for session, reason in overdue:
                self._roster.failed(session, reason, now, random.random())
            silent = list(self._roster.to_ping(now))
            targets = [] if self.closed or self._forking else self._roster.wanted(now)
            opening = [Session(a, blocking(a, self.settings.tls), purpose, self) for a, purpose in targets]
            self._roster.opening += opening
        for session, _ in overdue:
            session.close()
        for session in silent:
            session.ask(wire.ClientMessage(sync=wire.Sync()))
        for session in opening:
            main = session.purpose is Purpose.MAIN
            knows = self.view.since if main and not self._new_history else None
            session.since, packs = knows or (None, 0)
            session.start(messages.hello(self.settings.label, self.id, session.since, packs, main))

    # -- what sessions report (on their reading threads) -------------------------------------------------

    def welcomed(self, session: Session, welcome: messages.Welcome) -> None:
        with self._changed:
            session.stale = welcome.topology.stale
            known = self._roster.opened(session) and not self.closed
            refusal = self._refusal(session, welcome) if known else None
            if refusal is not None:
                self._failed(session, refusal)
            if refusal is not None or not known:
                useless = [session]
            else:
                useless = [each for each in self._accept(session, welcome) if each is not None]
            self._changed.notify_all()
        for each in useless:
            each.close()
        self.view.apply()

    def _refusal(self, session: Session, welcome: messages.Welcome) -> Exception | None:
        if welcome.wire_version != messages.WIRE_VERSION:
            return WrongVersion(
                f"node {welcome.node} at {session.address} speaks wire version {welcome.wire_version},"
                f" this client {messages.WIRE_VERSION}: upgrade the older one"
            )
        if not self.view.history:
            self.view.has_resumable(welcome.cluster, welcome.history)
        if self.id and welcome.cluster != self.id:
            return WrongCluster(f"{session.address} belongs to cluster {welcome.cluster}, this storage to {self.id}")
        if self.view.history and welcome.history != self.view.history:
            if welcome.topology.epoch <= self._history_epoch:
                return SessionLost(f"{session.address} follows a history that was given up")
            self._new_history = True
            if session.purpose is Purpose.READS:
                return SessionLost(f"{session.address} follows a newer history than the session")
        return None

    def _accept(self, session: Session, welcome: messages.Welcome) -> list[Session | None]:
        new_history = welcome.history != self.view.history
        if (
            session.purpose is Purpose.MAIN
            and session.since is None
            and not new_history
            and not self.view.has_seen(welcome.last_tid, welcome.packs)
        ):
            # It was opened before any was welcomed, and will not tell what came between the two: another will.
            return [session]
        useless = self._roster.take(session, welcome, new_history)
        self.id, self.limits = welcome.cluster, welcome.limits
        if self._roster.main is session:
            self.view.attach(session, welcome, session.since)
            self._new_history = False
            leads = "the primary" if self._roster.primary() is session else "not the primary"
            log.info("session with node %s at %s, %s", session.node, session.address, leads)
        if not self._new_history:
            self._history_epoch = max(self._history_epoch, welcome.topology.epoch)
        return list(useless)

    def topology(self, session: Session, topology: Topology) -> None:
        with self._changed:
            moved = session.stale != topology.stale
            session.stale = topology.stale
            if self.directory.learn(topology) or moved:
                self._changed.notify_all()

    def lost(self, session: Session, error: Exception) -> None:
        with self._changed:
            if self._roster.main is session and not self.closed and not self._forking:
                log.warning("lost the session with node %s: %s", session.node, error)
            short = time.monotonic() - session.started < SHORT_LIVED_SECONDS
            if not session.closed and (short or session in self._roster.opening):
                self._failed(session, error)
            self._roster.lost(session)
            self._changed.notify_all()

    def _failed(self, session: Session, error: Exception) -> None:
        if isinstance(error, Refused):
            if error.code == CODE_NOT_CAUGHT_UP and session.purpose is Purpose.MAIN:
                self._roster.look_wanted = True  # behind us, or of another history: a probe tells
            error = error if error.elsewhere else translated(error)
        self._roster.failed(session, error, time.monotonic(), random.random())

    def _broken(self, session: Session) -> None:
        """What it told could not be applied: another session tells it again, a moment later."""
        with self._changed:
            self._failed(session, SessionLost(f"what node {session.node} told could not be applied"))
        session.close()

    def changed(self, session: Session, tid: Tid, oids: tuple[Oid, ...]) -> None:
        self.view.changed(session, tid, oids)

    def purged(self, session: Session, purged: messages.Purged) -> None:
        self.view.purged(session, purged)

    def finished(self, session: Session, tid: Tid, ticket: Ticket) -> None:
        self.view.finished(session, tid, ticket)

    def prefetched(self, session: Session, loaded: messages.Loaded) -> None:
        if session.welcome is not None:
            self.view.prefetched(loaded, session.welcome.history)
