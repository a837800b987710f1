"""Answers that come in several messages: asked of one node after another until the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from springtide.client.attempts import another_may, attempt
from springtide.client.cluster import Cluster
from springtide.client.errors import ClusterUnavailable, Refused, translated
from springtide.client.pending import Gathering
from springtide.client.session import Session
from springtide.wire.v1 import session_pb2 as wire

#: A page of a history takes longer to read than one record; still, another node may be quicker.
ATTEMPT_SECONDS = 10.0

#: What came before the end, and the end.
Gathered = tuple[list[Any], wire.Done]


class Gatherer:
    def __init__(self, cluster: Cluster, timeout: float) -> None:
        self._cluster = cluster
        self._timeout = timeout

    def ask(self, make: Callable[[], wire.ClientMessage], of_primary: bool = False) -> Gathered:
        """The whole answer of some node, or of the primary. Raises ClusterUnavailable, or what a refusal means."""
        self._cluster.check_open()
        deadline = time.monotonic() + self._timeout
        tried: set[str] = set()
        while True:
            session = self._cluster.reader(deadline, tried, of_primary)
            answer = self._attempt(session, make(), deadline)
            if not isinstance(answer, Exception):
                return answer
            if isinstance(answer, Refused) and not another_may(answer):
                raise translated(answer)
            if time.monotonic() >= deadline:
                raise ClusterUnavailable(f"no node could tell it within {self._timeout:g} s: {answer}")
            tried = {session.node} if session.node in tried else {*tried, session.node}

    def _attempt(self, session: Session, message: wire.ClientMessage, deadline: float) -> Gathered | Exception:
        gathering = Gathering()
        seconds = min(ATTEMPT_SECONDS, deadline - time.monotonic())
        done: wire.Done | Exception = attempt(self._cluster, session, message, seconds, gathering)
        if isinstance(done, Exception):
            return done
        # These take as long as they are large: nothing to judge a node's speed by.
        self._cluster.noted(lambda balance: balance.released(session.node))
        return gathering.parts, done
