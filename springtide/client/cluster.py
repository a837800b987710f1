"""The sessions with the nodes of one cluster: which exist, and who keeps them alive.

There is one **main** session, with the primary where it can be reached, else with
any node, so that reads and invalidations go on; and one session for **reads** with
every other node. A keeper thread opens what is missing and ends what is silent;
sessions report to this object from their reading threads.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

from springtide.client import messages
from springtide.client.channels import TLS, open_channel
from springtide.client.errors import (
    ClusterUnavailable,
    Refused,
    SessionLost,
    StorageClosed,
    WrongCluster,
    WrongVersion,
    translated,
)
from springtide.client.routing import Balance, Directory, Topology, backoff_seconds
from springtide.client.session import Purpose, Session
from springtide.client.view import Ticket, View
from springtide.records.ids import Oid, Tid
from springtide.wire.v1 import session_pb2 as wire
from springtide.wire.v1.records_pb2 import CODE_NOT_CAUGHT_UP

log = logging.getLogger(__name__)

#: A node that has not welcomed us by then is not worth waiting for.
CONNECT_SECONDS = 3.0
#: A session that was silent for so long is asked for a sign of life; without one for as long again it ends.
SILENT_SECONDS = 2.0
#: How often other nodes are asked who leads while that is in doubt.
LOOK_SECONDS = 1.0


#: Kept for ever: collecting a parent's channels in a child would wait for threads that are not here.
_PARENTS: list[object] = []


@dataclass(frozen=True, slots=True)
class Settings:
    nodes: tuple[str, ...]
    label: str = ""
    tls: TLS | None = None
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

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.RLock())
        self._keeper: threading.Thread | None = None
        self._main: Session | None = None
        self._readers: dict[str, Session] = {}  # by node id
        self._opening: list[Session] = []
        self._pinged: dict[Session, float] = {}
        self._failures: dict[tuple[str, Purpose], tuple[int, float]] = {}
        self._reasons: dict[str, Exception] = {}
        self._look_wanted = False
        self._looked = 0.0
        self._led = time.monotonic()  # when there last was a session with the primary

    def forked(self) -> None:
        """In a new process: the parent's sessions are not ours, not even to close."""
        _PARENTS.append((self._main, self._readers, self._opening, self._pinged))
        self._reset()

    # -- what the rest of the client asks for --------------------------------------------------------

    def primary(self, deadline: float) -> Session:
        """The session with the primary."""
        return self._wait(self._primary, deadline, "no session with a primary")

    def any(self, deadline: float) -> Session:
        """A session with whatever node, the primary's by preference."""
        return self._wait(
            lambda: self._main or next(iter(self._readers.values()), None), deadline, "no node can be reached"
        )

    def reader(self, deadline: float, avoid: Collection[str]) -> Session:
        """A session to read on, not with a node in ``avoid`` if there is another; counted in ``balance``."""
        with self._changed:
            if avoid and not self._readable(avoid):
                self._changed.wait(min(0.02, max(0.0, deadline - time.monotonic())))
            session = self._wait(
                lambda: self._choose(self._readable(avoid) or self._readable(())), deadline, "no node can be reached"
            )
            self.balance.started(session.node)
            return session

    def look_around(self) -> None:
        """What we are told or not told suggests that another node leads: ask the others soon."""
        with self._changed:
            self._look_wanted = True
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
        self.any(deadline)
        return self.id

    def close(self) -> None:
        with self._changed:
            if self.closed:
                return
            self.closed = True
            sessions = self._sessions()
            keeper = self._keeper
            self._changed.notify_all()
        for session in sessions:
            session.close()
        if keeper is not None and keeper is not threading.current_thread():
            keeper.join(1.0)

    # -- choosing (the lock is held) --------------------------------------------------------------------

    def _wait(self, choose: Callable[[], Session | None], deadline: float, what: str) -> Session:
        with self._changed:
            while True:
                if self.closed:
                    raise StorageClosed("the storage is closed")
                self._ensure_kept()
                session = choose()
                if session is not None:
                    return session
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self._hopeless():
                    raise self._unavailable(what)
                self._changed.wait(remaining)

    def _unavailable(self, what: str) -> Exception:
        if self._hopeless():
            return next(iter(self._reasons.values()))
        reasons = "; ".join(str(reason) for reason in self._reasons.values()) or "no answer in time"
        return ClusterUnavailable(f"{what} of {', '.join(self.directory.addresses())}: {reasons}")

    def _hopeless(self) -> bool:
        """Every node we know of refused us for good."""
        addresses = self.directory.addresses()
        return bool(addresses) and all(
            isinstance(self._reasons.get(address), WrongCluster | WrongVersion) for address in addresses
        )

    def _primary(self) -> Session | None:
        main = self._main
        return main if main is not None and main.node == self.directory.topology.primary else None

    def _readable(self, avoid: Collection[str]) -> dict[str, Session]:
        sessions = dict(self._readers)
        if self._main is not None:
            sessions[self._main.node] = self._main
        return {node: session for node, session in sessions.items() if node not in avoid and session.alive}

    def _choose(self, sessions: dict[str, Session]) -> Session | None:
        node = self.balance.choose(sessions, time.monotonic(), random.random())
        return None if node is None else sessions[node]

    def _sessions(self) -> list[Session]:
        return [*self._opening, *self._readers.values(), *([self._main] if self._main else [])]

    # -- the keeper ---------------------------------------------------------------------------------------

    def _ensure_kept(self) -> None:
        if self._keeper is None:
            self._keeper = threading.Thread(target=self._keep, name="springtide-keeper", daemon=True)
            self._keeper.start()

    def _keep(self) -> None:
        while not self.closed:
            if self.abandoned:
                self.close()
                return
            try:
                self._step(time.monotonic())
            except Exception:
                log.exception("keeping the sessions failed; going on")
            with self._changed:
                if not self.closed:
                    self._changed.wait(0.02 if self._primary() is None else 0.25)

    def _step(self, now: float) -> None:
        with self._changed:
            if self._primary() is not None:
                self._led = now
            ended = [s for s in self._opening if now - s.started > CONNECT_SECONDS]
            for session in ended:
                self._reasons[session.address] = SessionLost(f"{session.address}: no answer in {CONNECT_SECONDS:.0f} s")
            ended += [s for s in self._sessions() if s not in self._opening and not self._lives(s, now)]
            wanted = [] if self.closed else self._wanted(now)
            for session in wanted:
                self._opening.append(session)
        for session in ended:
            session.close()
        for session in wanted:
            last = None if self._new_history or not self.view.history else self.view.last
            main = session.purpose is Purpose.MAIN
            session.start(messages.hello(self.settings.label, self.id, last if main else None, main))

    def _lives(self, session: Session, now: float) -> bool:
        if now - session.heard < SILENT_SECONDS:
            self._pinged.pop(session, None)
        elif session not in self._pinged:
            self._pinged[session] = now
            session.ask(wire.ClientMessage(sync=wire.Sync()))
        elif session.heard > self._pinged[session]:
            del self._pinged[session]
        elif now - self._pinged[session] > SILENT_SECONDS:
            self._reasons[session.address] = SessionLost(f"{session.address}: silent for {now - session.heard:.0f} s")
            return False
        return True

    def _wanted(self, now: float) -> list[Session]:
        """Sessions to open now."""
        directory, main = self.directory, self._main
        targets: list[tuple[str, Purpose]] = []
        if main is None:
            targets += [(address, Purpose.MAIN) for address in directory.addresses()]
        elif self._primary() is None or directory.hint:
            targets += [(a, Purpose.MAIN) for a in directory.primary_addresses() if a != main.address]
        if main is not None and self.settings.balance_reads:
            have = {main.node, *self._readers}
            targets += [(address, Purpose.READS) for address in directory.others(have)]
        if self._look_wanted or (main is not None and now - self._led > LOOK_SECONDS):
            if now - self._looked > LOOK_SECONDS:
                self._looked, self._look_wanted = now, False
                targets += [(a, Purpose.PROBE) for a in directory.addresses() if main is None or a != main.address]
        busy = {(s.address, s.purpose) for s in self._opening}
        return [
            Session(address, open_channel(address, self.settings.tls), purpose, self)
            for address, purpose in targets
            if (address, purpose) not in busy and self._failures.get((address, purpose), (0, 0.0))[1] <= now
        ]

    # -- what sessions report (on their reading threads) ---------------------------------------------------

    def welcomed(self, session: Session, welcome: messages.Welcome) -> None:
        with self._changed:
            if session in self._opening:
                self._opening.remove(session)
            refusal = self._refusal(session, welcome)
            useless: Sequence[Session | None] = (session,)
            if refusal is not None:
                self._failed(session, refusal)
            else:
                self._failures.pop((session.address, session.purpose), None)
                self._reasons.pop(session.address, None)
                self.directory.answered[session.address] = session.node
                self.directory.learn(welcome.topology)
                self.id, self.limits = welcome.cluster, welcome.limits
                useless = self._take(session, welcome)
                self._history_epoch = max(self._history_epoch, welcome.topology.epoch)
            self._changed.notify_all()
        for each in useless:
            if each is not None:
                each.close()
        self.view.apply()

    def _refusal(self, session: Session, welcome: messages.Welcome) -> Exception | None:
        if self.closed or not session.alive:
            return StorageClosed("the storage is closed")
        if welcome.wire_version != messages.WIRE_VERSION:
            return WrongVersion(
                f"node {welcome.node} at {session.address} speaks wire version {welcome.wire_version},"
                f" this client {messages.WIRE_VERSION}: upgrade the older one"
            )
        if self.id and welcome.cluster != self.id:
            return WrongCluster(f"{session.address} belongs to cluster {welcome.cluster}, this storage to {self.id}")
        if self.view.history and welcome.history != self.view.history:
            if welcome.topology.epoch <= self._history_epoch:
                return SessionLost(f"{session.address} follows a history that was given up")
            self._new_history = True
            if session.purpose is Purpose.READS:
                return SessionLost(f"{session.address} follows a newer history")
        return None

    def _take(self, session: Session, welcome: messages.Welcome) -> Sequence[Session | None]:
        """Give a welcomed session its place; those that have none any more."""
        main = self._main
        match session.purpose:
            case Purpose.PROBE:
                return (session,)
            case Purpose.READS:
                if main is not None and main.node == session.node:
                    return (session,)
                replaced = self._readers.get(session.node)
                self._readers[session.node] = session
                return (replaced,)
        leads = self.directory.topology.primary
        if main is not None and main.alive and welcome.history == self.view.history:
            if session.node == main.node or session.node != leads:
                return (session,)
        self._main = session
        self._new_history = False
        if session.node == leads:
            self.directory.hint = ""
        self.view.attach(session, welcome.last_tid, welcome.history)
        log.info("session with node %s at %s, %s", session.node, session.address,
                 "the primary" if session.node == leads else "not the primary")
        return (main, self._readers.pop(session.node, None))

    def topology(self, session: Session, topology: Topology) -> None:
        with self._changed:
            if self.directory.learn(topology):
                self._changed.notify_all()

    def lost(self, session: Session, error: Exception) -> None:
        with self._changed:
            self._pinged.pop(session, None)
            if session in self._opening:
                self._opening.remove(session)
            if self._readers.get(session.node) is session:
                del self._readers[session.node]
            if self._main is session:
                self._main = None
                if not self.closed:
                    log.warning("lost the session with node %s: %s", session.node, error)
            if session.welcome is None or not isinstance(error, SessionLost):
                self._failed(session, error)
            self._changed.notify_all()

    def _failed(self, session: Session, error: Exception) -> None:
        count, _ = self._failures.get((session.address, session.purpose), (0, 0.0))
        until = time.monotonic() + backoff_seconds(count, random.random())
        self._failures[session.address, session.purpose] = (count + 1, until)
        if isinstance(error, Refused):
            if error.code == CODE_NOT_CAUGHT_UP and session.purpose is Purpose.MAIN:
                self._look_wanted = True  # behind us, or of another history: a probe tells
            error = error if error.elsewhere else translated(error)
        self._reasons[session.address] = error

    def changed(self, session: Session, tid: Tid, oids: tuple[Oid, ...]) -> None:
        self.view.changed(session, tid, oids)

    def finished(self, session: Session, tid: Tid, ticket: Ticket) -> None:
        self.view.finished(session, tid, ticket)

    def prefetched(self, session: Session, loaded: messages.Loaded) -> None:
        if session.welcome is not None:
            self.view.prefetched(loaded, session.welcome.history)
