"""Which answers prove that no other primary reigned when a read was asked for?

Pure. Keeps the first half of rule R9, without clocks: a round of heartbeats that
begins after the request, answered by everybody of whom a successor would have
needed one: the members of the current and of the proposed set, each in the
incarnation that is named there. (The second half, that a node answers at a tid only
when its commit point covers it, is ``node.reading``'s.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from springtide.primary.feed import Progress
from springtide.records.ids import Member


class Round:
    """One round, begun when it is made."""

    def __init__(self, members: Iterable[Member], feeds: Mapping[Member, Progress]) -> None:
        """``members`` are those who must answer, without the primary itself; ``feeds`` who is fed now."""
        self._asked: dict[Member, tuple[Progress | None, int]] = {}
        for member in members:
            feed = feeds.get(member)
            if feed is not None:
                feed.round += 1
            # A feed that begins after the request proves as much with its first round.
            self._asked[member] = (feed, feed.round if feed is not None else 1)

    def answered(self, feeds: Mapping[Member, Progress]) -> bool:
        """Whether all have answered, on the feeds of now."""
        return all(_answered(feeds.get(member), *asked) for member, asked in self._asked.items())


def _answered(feed: Progress | None, asked: Progress | None, round: int) -> bool:
    return feed is not None and feed.confirmed >= (round if feed is asked else 1)
