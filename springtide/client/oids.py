"""New oids, from ranges that the cluster hands out as committed log entries."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection

from springtide.client.cluster import Cluster
from springtide.client.errors import ClusterUnavailable, Refused, SessionLost, translated
from springtide.records.ids import Oid, oid
from springtide.wire.v1 import session_pb2 as wire

#: A range costs a commit. Ranges grow while they are used up quickly, so that an import
#: asks rarely, and a client that creates little wastes little.
COUNT_MIN, COUNT_MAX = 100, 10_000
QUICKLY_SECONDS = 10.0


class Oids:
    """Invariant: oids ``next`` to ``end - 1`` are this process's to give."""

    def __init__(self, cluster: Cluster, timeout: float) -> None:
        self._cluster = cluster
        self._timeout = timeout
        self._count = COUNT_MIN
        self._asked = 0.0
        self.forked()

    def forked(self) -> None:
        """A child must not give what its parent gives, too."""
        self._lock = threading.Lock()
        self._next = self._end = 0
        self._bounds = (b"", b"")

    def new(self) -> Oid:
        with self._lock:
            if self._next >= self._end:
                self._refill()
            given = self._next
            self._next += 1
            return oid(given)

    def drop(self) -> None:
        with self._lock:
            self._next = self._end = 0
            self._bounds = (b"", b"")

    def seen(self, oids: Collection[Oid]) -> None:
        """Others may have stored oids they chose themselves: never give one of these."""
        first, last = self._bounds
        if any(first <= each <= last for each in oids):
            with self._lock:
                used = [int.from_bytes(each, "big") for each in oids if first <= each <= last]
                if any(self._next <= each < self._end for each in used):
                    self._next = self._end = 0

    def _refill(self) -> None:
        now = time.monotonic()
        quickly = now - self._asked < QUICKLY_SECONDS
        self._count = min(COUNT_MAX, self._count * 2) if quickly else COUNT_MIN
        self._asked = now
        answer = self._ask(now + self._timeout)
        self._next, self._end = answer.first, answer.first + answer.count
        self._bounds = (oid(self._next), oid(self._end - 1))

    def _ask(self, deadline: float) -> wire.Oids:
        while True:
            session = self._cluster.primary(deadline)
            message = wire.ClientMessage(new_oids=wire.NewOids(count=self._count))
            try:
                answer = session.ask(message).wait(deadline - time.monotonic())
                assert isinstance(answer, wire.Oids) and answer.count
                return answer
            except Refused as refusal:
                if not refusal.elsewhere:
                    raise translated(refusal) from None
                self._cluster.redirected(session, refusal.primary)
                self._cluster.pause(deadline)
            except SessionLost:
                self._cluster.pause(deadline)
            except TimeoutError:
                raise ClusterUnavailable(f"no new oids from node {session.node} within {self._timeout:g} s") from None
