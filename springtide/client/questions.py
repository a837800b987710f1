"""Questions that one node answers in one message; asked again elsewhere until the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from springtide.client.cluster import Cluster
from springtide.client.errors import ClusterUnavailable, Refused, SessionLost, translated
from springtide.records.ids import TID_ZERO, Tid
from springtide.wire.v1 import session_pb2 as wire


class Questions:
    def __init__(self, cluster: Cluster, timeout: float) -> None:
        self._cluster = cluster
        self._timeout = timeout

    def info(self) -> wire.InfoAnswer:
        answer = self._ask(lambda: wire.ClientMessage(info=wire.Info()), time.monotonic() + self._timeout, False)
        assert isinstance(answer, wire.InfoAnswer)
        return answer

    def last_tid(self, deadline: float, strict: bool) -> Tid:
        """What some node has committed by now; ``strict``: what anybody has."""
        answer = self._ask(lambda: wire.ClientMessage(sync=wire.Sync(strict=strict)), deadline, strict)
        return Tid(answer.last_tid or TID_ZERO)

    def _ask(self, make: Callable[[], wire.ClientMessage], deadline: float, of_primary: bool) -> Any:
        cluster = self._cluster
        while True:
            session = (cluster.primary if of_primary else cluster.any)(deadline)
            try:
                return session.ask(make()).wait(deadline - time.monotonic())
            except Refused as refusal:
                if not refusal.elsewhere or time.monotonic() >= deadline:
                    raise translated(refusal) from None
                cluster.redirected(session, refusal.primary)
            except SessionLost as lost:
                cluster.check_open()
                if time.monotonic() >= deadline:
                    raise ClusterUnavailable(str(lost)) from None
            except TimeoutError:
                raise ClusterUnavailable(f"node {session.node} did not answer in time") from None
            cluster.pause(deadline)
