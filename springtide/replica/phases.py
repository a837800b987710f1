"""What a follower knows of one feed, from its hello to its end.

Pure. A phase has what is known in it, and nothing else.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from springtide.records.entries import Entry
from springtide.records.position import Point
from springtide.replica.divergence import Search
from springtide.replica.effects import Leave


@dataclass(frozen=True, slots=True)
class Greeting:
    """Said hello."""


@dataclass(frozen=True, slots=True)
class Probing:
    search: Search


@dataclass(slots=True)
class Waiting:
    """Entries that came together, and the files that they still wait for."""

    entries: tuple[Entry, ...]
    lacking: set[bytes]


@dataclass(slots=True)
class Streaming:
    """Copying entries as they come.

    Invariant: the log here is a prefix of the primary's history;
    committed <= durable <= appended <= received, and what lies between the last two waits for files.
    """

    received: Point
    durable: int
    heard: int  # the primary's commit point, which may be beyond what is durable here
    committed: int
    waiting: deque[Waiting] = field(default_factory=deque)
    announced: set[bytes] = field(default_factory=set)  # files that the primary wants to hear of

    @property
    def appended(self) -> int:
        return self.waiting[0].entries[0].lsn - 1 if self.waiting else self.received.lsn


@dataclass(frozen=True, slots=True)
class Ended:
    leave: Leave


@dataclass(frozen=True, slots=True)
class Status:
    """What an acknowledgement says besides what is durable."""

    applied: int
    headroom_bytes: int
    reads: bool
    #: What this node's clock shows, in seconds since 1970; 0: it does not say.
    wall: float = 0.0
