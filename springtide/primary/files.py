"""Which in-sync followers hold the files that votes under way name?

Pure. A vote is answered when all of them do, so that its finish waits for no file. What is safe does not hang on
this: a follower takes in no entry before it holds the files that the entry names.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from springtide.records.blobs import Named
from springtide.records.ids import Member

#: What the slowest disk and network that a vote waits for take in.
BYTES_PER_SECOND_MIN = 5 * 2**20


class Announced:
    """Files that votes wait for. Invariant: whatever is said of a follower's files is of files in ``_votes``."""

    def __init__(self) -> None:
        self._names: dict[bytes, Named] = {}
        self._votes: dict[bytes, int] = {}  # how many votes name the file
        self._told: dict[object, set[bytes]] = {}
        self._held: dict[object, set[bytes]] = {}

    def add(self, names: Iterable[Named]) -> None:
        for named in names:
            self._names[named.blob.id] = named
            self._votes[named.blob.id] = self._votes.get(named.blob.id, 0) + 1

    def drop(self, names: Iterable[Named]) -> None:
        """A vote that named these is over, or waits no more."""
        for named in names:
            id = named.blob.id
            self._votes[id] -= 1
            if not self._votes[id]:
                del self._votes[id], self._names[id]
                for ids in (*self._told.values(), *self._held.values()):
                    ids.discard(id)

    def begun(self, feed: object) -> None:
        """A feed begins: its follower has been told nothing."""
        self._told[feed], self._held[feed] = set(), set()

    def ended(self, feed: object) -> None:
        self._told.pop(feed, None)
        self._held.pop(feed, None)

    def untold(self, feed: object) -> tuple[Named, ...]:
        """What to announce on this feed now; it counts as told from here on."""
        told = self._told.get(feed)
        if told is None or told >= self._names.keys():
            return ()
        news = tuple(named for id, named in self._names.items() if id not in told)
        told.update(self._names)
        return news

    def held(self, feed: object, ids: Iterable[bytes]) -> None:
        """The follower says that it has these, whole and synced."""
        if feed in self._held:
            self._held[feed].update(id for id in ids if id in self._votes)

    def missing(self, names: Iterable[Named], feeds: Mapping[Member, object]) -> list[Member]:
        """Those of these followers that do not hold all the files yet."""
        ids = {named.blob.id for named in names}
        return sorted(member for member, feed in feeds.items() if not ids <= self._held.get(feed, set()))


def patience_seconds(names: Iterable[Named]) -> float:
    """How much longer a vote with these files may take than one without."""
    return sum(named.blob.size for named in names) / BYTES_PER_SECOND_MIN
