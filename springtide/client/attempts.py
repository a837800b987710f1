"""One request to one node, and what its failure says: about that node, and about the others."""

from __future__ import annotations

import time
from typing import Any

from springtide.client.cluster import Cluster
from springtide.client.errors import ClusterUnavailable, Refused, SessionLost
from springtide.client.pending import Pending
from springtide.client.session import Session
from springtide.wire.v1 import session_pb2 as wire
from springtide.wire.v1.records_pb2 import CODE_DAMAGED, CODE_INTERNAL, CODE_NOT_CAUGHT_UP


def attempt(
    cluster: Cluster,
    session: Session,
    message: wire.ClientMessage,
    seconds: float,
    pending: Pending[Any] | None = None,
) -> Any:
    """The answer, or as a value the exception that says why there is none.

    A failure is noted against the node. Of a success the caller notes what it says about the node's speed.
    """
    try:
        return session.ask(message, pending).wait(seconds)
    except Refused as refusal:
        failure: Exception = refusal
        if refusal.code == CODE_NOT_CAUGHT_UP:
            cluster.noted(lambda balance: balance.behind(session.node, time.monotonic()))
            return failure
    except TimeoutError:
        failure = ClusterUnavailable(f"node {session.node} did not answer in time")
    except SessionLost as lost:
        failure = lost
    cluster.noted(lambda balance: balance.failed(session.node, time.monotonic()))
    return failure


def another_may(failure: Exception) -> bool:
    """Whether another node may answer: a damaged or failing one says nothing about the records of the others."""
    return not isinstance(failure, Refused) or failure.elsewhere or failure.code in (CODE_DAMAGED, CODE_INTERNAL)
