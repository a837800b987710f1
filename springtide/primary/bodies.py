"""Which bodies of large transactions go ahead to which followers, and who has them?

Pure. A vote on a large transaction is answered when every in-sync follower has its body, synced, so that its finish
sends no more than a head, and what is finished behind it waits for no body. What is safe does not hang on this: an
entry whose body is not there is sent with it, and acknowledged when all of it is in the log.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from springtide.records import feed
from springtide.records.ahead import Ahead
from springtide.records.entries import Entry
from springtide.records.ids import Member

#: Sent at a time, between entries: these wait for no more than that.
PART_BYTES = 2**18


class Bodies:
    """Invariant: what a follower has or is being sent is in ``_sent`` of its feed, until it is told to let it go."""

    def __init__(self) -> None:
        self._bodies: dict[bytes, Ahead] = {}
        self._sent: dict[object, dict[bytes, int]] = {}  # bytes of each
        self._held: dict[object, set[bytes]] = {}

    def add(self, body: Ahead) -> None:
        self._bodies[body.id] = body

    def drop(self, id: bytes) -> None:
        """Its transaction is committed, or never will be. Nothing where it is not here."""
        self._bodies.pop(id, None)

    def begun(self, feed: object) -> None:
        """A feed begins: its follower has none."""
        self._sent[feed], self._held[feed] = {}, set()

    def ended(self, feed: object) -> None:
        self._sent.pop(feed, None)
        self._held.pop(feed, None)

    def next(self, feed_: object) -> feed.BodyPart | feed.BodiesGone | None:
        """What to send on this feed now; it counts as sent from here on."""
        sent = self._sent.get(feed_)
        if sent is None:
            return None
        gone = tuple(id for id in sent if id not in self._bodies)
        if gone:
            for id in gone:
                del sent[id]
                self._held[feed_].discard(id)
            return feed.BodiesGone(gone)
        for id, body in self._bodies.items():
            start = sent.get(id, 0)
            if start < len(body.bytes):
                sent[id] = min(len(body.bytes), start + PART_BYTES)
                part = body.bytes[start : sent[id]]
                return feed.BodyPart(id, part, sent[id] == len(body.bytes))
        return None

    def held(self, feed: object, ids: Iterable[bytes]) -> None:
        """The follower says that it has these, whole and synced."""
        if feed in self._held:
            self._held[feed].update(id for id in ids if id in self._sent[feed])

    def known(self, feed: object, entries: Iterable[Entry]) -> frozenset[int]:
        """The lsns of those of these entries whose body this follower has."""
        held = self._held.get(feed, set())
        return frozenset(entry.lsn for entry in entries if entry.ahead is not None and entry.ahead.id in held)

    def missing(self, id: bytes, feeds: Mapping[Member, object]) -> list[Member]:
        """Those of these followers that do not have it yet."""
        return sorted(member for member, feed in feeds.items() if id not in self._held.get(feed, set()))
