"""Answers that come in several messages: asked of one node after another until the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from springtide.client.cluster import Cluster
from springtide.client.errors import ClusterUnavailable, Refused, SessionLost, translated
from springtide.client.session import Gathering, Session
from springtide.wire.v1 import session_pb2 as wire
from springtide.wire.v1.records_pb2 import CODE_DAMAGED, CODE_INTERNAL, CODE_NOT_CAUGHT_UP

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
            if isinstance(answer, Refused) and not (
                answer.elsewhere or answer.code in (CODE_DAMAGED, CODE_INTERNAL)  # says nothing about other nodes
            ):
                raise translated(answer)
            if time.monotonic() >= deadline:
                raise ClusterUnavailable(f"no node could tell it within {self._timeout:g} s: {answer}")
            tried = {session.node} if session.node in tried else {*tried, session.node}

    def _attempt(self, session: Session, message: wire.ClientMessage, deadline: float) -> Gathered | Exception:
        started = time.monotonic()
        note = self._cluster.noted
        gathering = Gathering()
        try:
            done = session.ask(message, gathering).wait(min(ATTEMPT_SECONDS, deadline - started))
        except Refused as refusal:
            if refusal.code == CODE_NOT_CAUGHT_UP:
                note(lambda balance: balance.behind(session.node, time.monotonic()))
            else:
                note(lambda balance: balance.failed(session.node, time.monotonic()))
            return refusal
        except TimeoutError:
            note(lambda balance: balance.failed(session.node, time.monotonic()))
            return ClusterUnavailable(f"node {session.node} did not answer in time")
        except SessionLost as lost:
            note(lambda balance: balance.failed(session.node, time.monotonic()))
            return lost
        # These take as long as they are large: nothing to judge a node's speed by.
        note(lambda balance: balance.released(session.node))
        return gathering.parts, done
