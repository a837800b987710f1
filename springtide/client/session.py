"""One long-lived stream to one node: numbered requests out, answers and news in.

Two threads meet here: any thread sends (gRPC's own thread takes the messages from
a queue), and one thread reads. What was asked is answered through ``Pending``;
what was not asked for, and answers that have a place in the order of commits, go
to the ``Listener``, on the reading thread and in the order of the stream.
"""

from __future__ import annotations

import itertools
import logging
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from enum import Enum
from typing import Any, Protocol

import grpc

from springtide.client import messages
from springtide.client.conversation import Conversation
from springtide.client.errors import Refused, SessionLost
from springtide.client.events import Ticket
from springtide.client.pending import Gathering, Pending, Prefetching
from springtide.client.routing import Topology
from springtide.client.tls import tls_hint
from springtide.client.watched import reason
from springtide.records.ids import Oid, Tid
from springtide.wire.v1 import session_pb2 as wire

log = logging.getLogger(__name__)

#: Who has many messages to send waits while so many are on their way: others' come in between.
WAITING_MAX = 8
METHOD = "/springtide.wire.v1.Storage/Session"


class Purpose(Enum):
    MAIN = "main"  # commits, invalidations, topology
    READS = "reads"
    PROBE = "probe"  # only to hear the welcome


class Listener(Protocol):
    def welcomed(self, session: Session, welcome: messages.Welcome) -> None: ...
    def changed(self, session: Session, tid: Tid, oids: tuple[Oid, ...]) -> None: ...
    def purged(self, session: Session, purged: messages.Purged) -> None: ...
    def finished(self, session: Session, tid: Tid, ticket: Ticket) -> None: ...
    def prefetched(self, session: Session, loaded: messages.Loaded) -> None: ...
    def topology(self, session: Session, topology: Topology) -> None: ...
    def lost(self, session: Session, error: Exception) -> None: ...


class Session:
    """Invariant: whatever is asked is answered, refused, or failed with ``SessionLost``."""

    def __init__(self, address: str, channel: Any, purpose: Purpose, listener: Listener) -> None:
        self.address = address
        self.purpose = purpose
        self.channel = channel
        self.node = address  # its id, once it has welcomed us
        self.welcome: messages.Welcome | None = None
        self.started = self.heard = time.monotonic()
        self.alive = True
        #: From which tid on this session tells every change; None: from when it was welcomed.
        self.since: Tid | None = None
        self.closed = False  # by this side
        #: The node has said that what is read there may be old.
        self.stale = False
        self._listener = listener
        self._numbers = itertools.count(1)
        self._pending: dict[int, Pending[Any]] = {}
        self._finishing: dict[int, Ticket] = {}
        self._parts = messages.Parts()
        self._outgoing: queue.SimpleQueue[wire.ClientMessage | None] = queue.SimpleQueue()
        self._room = threading.Event()  # set whenever a message was taken
        self._stream: Any = None
        self._reader: threading.Thread | None = None

    def start(self, hello: wire.ClientMessage) -> None:
        """Open the stream. ``welcomed`` or ``lost`` is called later, on the reading thread."""
        self._outgoing.put(hello)
        open_stream = self.channel.stream_stream(
            METHOD,
            request_serializer=wire.ClientMessage.SerializeToString,
            response_deserializer=wire.NodeMessage.FromString,
        )
        try:
            self._stream = open_stream(self._taken())
        except ValueError:  # closed meanwhile
            self._listener.lost(self, SessionLost(f"{self.address}: closed"))
            return
        name = f"springtide-{self.purpose.value}-{self.address}"
        self._reader = threading.Thread(target=self._read, name=name, daemon=True)
        self._reader.start()

    # -- asking --------------------------------------------------------------------------------

    def ask(self, message: wire.ClientMessage, pending: Pending[Any] | None = None) -> Pending[Any]:
        pending = Pending() if pending is None else pending
        number = message.request = next(self._numbers)
        self._pending[number] = pending
        if not self.alive:
            self._fail(number, SessionLost(f"the session with {self.node} has ended"))
        self._outgoing.put(message)
        return pending

    def ask_finish(self, message: wire.ClientMessage, ticket: Ticket) -> Pending[Tid | None]:
        """Like ``ask``; the answer comes in the order of commits, through the listener."""
        number = message.request = next(self._numbers)
        self._finishing[number] = ticket
        self._pending[number] = ticket.pending
        if not self.alive:
            self._fail(number, SessionLost(f"the session with {self.node} has ended"))
        self._outgoing.put(message)
        return ticket.pending

    def tell(self, told: Iterable[wire.ClientMessage]) -> None:
        """Messages that need no answer."""
        for message in told:
            self._outgoing.put(message)

    def _taken(self) -> Iterator[wire.ClientMessage]:
        """What gRPC's thread takes, one by one, as fast as the node reads."""
        while (message := self._outgoing.get()) is not None:
            self._room.set()
            yield message

    def wait_for_room(self, seconds: float) -> bool:
        """Whether few messages wait to be sent, now or within ``seconds``. Raises ``SessionLost``."""
        deadline = time.monotonic() + seconds
        while self._outgoing.qsize() >= WAITING_MAX:
            self._room.clear()
            if not self.alive:
                raise SessionLost(f"the session with {self.node} has ended")
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            if self._outgoing.qsize() >= WAITING_MAX:
                self._room.wait(left)
        return True

    def close(self) -> None:
        """End the stream. Whoever waits is told ``SessionLost``."""
        self.closed = True
        self.alive = False
        self._outgoing.put(None)
        self._room.set()
        if self._stream is not None:
            self._stream.cancel()
        self.channel.close()

    def join(self, deadline: float) -> bool:
        """Whether the reading thread has ended, by then, or is this one."""
        reader = self._reader
        if reader is None or reader is threading.current_thread():
            return True
        reader.join(max(0.0, deadline - time.monotonic()))
        return not reader.is_alive()

    # -- hearing -------------------------------------------------------------------------------

    def _read(self) -> None:
        error: Exception = SessionLost(f"node {self.node} ended the session")
        try:
            for message in self._stream:
                self.heard = time.monotonic()
                self._receive(message)
        except Refused as refusal:
            error = refusal
        except grpc.RpcError as broken:
            hint = "" if self.welcome is not None else tls_hint(broken.details() or "")
            error = SessionLost(f"{self.address}: {reason(broken)}{hint}")
        except Exception as bug:
            log.exception("the session with %s ends: a message could not be handled", self.node)
            error = SessionLost(f"{self.address}: {bug}")
        finally:
            self.alive = False
            self._listener.lost(self, error)
            lost = error if isinstance(error, SessionLost) else SessionLost(f"{self.address}: {error}")
            for number in list(self._pending):
                self._fail(number, lost)
            self.close()

    def _fail(self, number: int, error: Exception) -> None:
        self._finishing.pop(number, None)
        pending = self._pending.pop(number, None)
        if pending is not None:
            pending.fail(error)

    def _receive(self, message: wire.NodeMessage) -> None:
        kind = message.WhichOneof("body")
        request = message.request
        if kind == "loaded":
            self._loaded(request, message.loaded)
        elif kind == "invalidation":
            self._changed(message.invalidation)
        elif kind == "invalidations":
            for each in message.invalidations.each:
                self._changed(each)
        elif kind == "purged":
            purged = self._parts.purged(message.purged)
            if purged is not None:
                self._listener.purged(self, purged)
        elif kind == "finished":
            if self._pending.pop(request, None) is not None:
                self._listener.finished(self, Tid(message.finished.tid), self._finishing.pop(request))
        elif kind == "pack_progress":
            waiting = self._pending.get(request)
            if isinstance(waiting, Conversation):
                waiting.progress(message.pack_progress)
        elif kind == "topology":
            self._listener.topology(self, messages.topology(message.topology))
        elif kind == "welcome":
            self.welcome = messages.welcome(message.welcome)
            self.node = self.welcome.node or self.address
            self._listener.welcomed(self, self.welcome)
        elif kind == "error":
            refusal = Refused(message.error.code, message.error.message, self.node, message.error.primary)
            if self.welcome is None:
                raise refusal
            self._fail(request, refusal)
        elif kind in ("past", "undone"):
            gathering = self._pending.get(request)
            if isinstance(gathering, Gathering):
                gathering.parts.append(getattr(message, kind))
        elif kind is not None:
            pending = self._pending.pop(request, None)
            if pending is not None:
                pending.settle(getattr(message, kind))

    def _changed(self, message: wire.Invalidation) -> None:
        change = self._parts.invalidation(message)
        if change is not None:
            self._listener.changed(self, *change)

    def _loaded(self, request: int, message: wire.Loaded) -> None:
        answer = self._parts.loaded(request, message)
        if answer is None:
            return
        pending = self._pending.get(request)
        if isinstance(pending, Prefetching):
            self._listener.prefetched(self, answer)  # ended by ``done``
        elif isinstance(pending, Gathering):
            pending.parts.append(answer)
        elif self._pending.pop(request, None) is not None and pending is not None:
            pending.settle(answer)
