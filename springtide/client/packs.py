"""A pack, as the client sees it: asked of the primary, and followed until it ends.

It may take as long as it likes, while the primary says that it is at work. Where the primary
changes, the pack is asked for again: the next one has gone on with it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress

from springtide.client.cluster import Cluster
from springtide.client.conversation import Conversation
from springtide.client.errors import ClusterUnavailable, Refused, SessionLost, translated
from springtide.client.session import Session
from springtide.records.ids import TID_ZERO, Oid, Tid
from springtide.wire.v1 import session_pb2 as wire

#: The primary says every second that it is at work.
SILENCE_SECONDS = 30.0

References = Callable[[bytes], Iterable[bytes]]


def pack(cluster: Cluster, tid: Tid, gc: bool, references: References | None, timeout: float, wait: bool) -> Tid:
    """Returns the pack point then; with ``wait`` false as soon as the primary has begun."""
    deadline = time.monotonic() + timeout
    while True:
        session = cluster.primary(deadline)
        conversation = Conversation()
        message = wire.ClientMessage(pack=wire.Pack(tid=tid, gc=gc))
        session.ask(message, conversation)
        try:
            packed = TID_ZERO
            while (part := conversation.hear(SILENCE_SECONDS)) is not None:
                deadline = time.monotonic() + timeout
                if part.records:
                    session.tell([_referred(message.request, part.records, references)])
                packed = Tid(part.packed) or packed
                if not wait:
                    return packed
            return packed
        except Refused as refusal:
            if not refusal.elsewhere or time.monotonic() >= deadline:
                raise translated(refusal) from None
            cluster.redirected(session, refusal.primary)
        except (SessionLost, TimeoutError) as lost:
            cluster.check_open()
            if time.monotonic() >= deadline:
                raise ClusterUnavailable(f"the pack was not seen to its end: {lost or session.node}") from None
        cluster.pause(deadline)


def _referred(pack: int, records: Iterable[bytes], references: References | None) -> wire.ClientMessage:
    return wire.ClientMessage(
        referred=wire.Referred(pack=pack, records=[_references(record, references) for record in records])
    )


def _references(record: bytes, references: References | None) -> wire.References:
    if references is None:
        return wire.References(failure="no function was given that finds references")
    try:
        return wire.References(oids=b"".join(Oid(name) for name in references(record)))
    except Exception as error:  # whatever an application's function raises: the pack is refused with it
        return wire.References(failure=f"{type(error).__name__}: {error}")


def settled(session: Session | None, seconds: float) -> None:
    """Wait until ``session`` has told what the pack took away."""
    if session is not None:
        with suppress(SessionLost, Refused, TimeoutError):  # then the next session tells that something was missed
            session.ask(wire.ClientMessage(sync=wire.Sync())).wait(seconds)
