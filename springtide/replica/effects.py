"""What a follower wants done.

Pure. Whoever performs effects finishes each before the next; ``Append``, ``Fetch`` and ``Settle`` alone are only
begun.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from springtide.records.ahead import Ahead
from springtide.records.blobs import Named
from springtide.records.entries import Entry
from springtide.records.feed import Upward
from springtide.records.position import Point


@dataclass(frozen=True, slots=True)
class Send:
    message: Upward


@dataclass(frozen=True, slots=True)
class Promise:
    """Put the epoch on disk: nothing of an older one is listened to from now on."""

    epoch: int


@dataclass(frozen=True, slots=True)
class Cut:
    """Set aside what follows ``keep``, then cut it off the log."""

    keep: Point


@dataclass(frozen=True, slots=True)
class Adopt:
    """This directory belongs to this cluster and follows this history."""

    cluster: str
    history: str


@dataclass(frozen=True, slots=True)
class Append:
    """Begin to append; report its end with ``durable``."""

    entries: tuple[Entry, ...]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Begin to fetch these files where they are not here; report each with ``held`` or ``not_held``."""

    names: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class Settle:
    """Begin to sync this body; report its end with ``settled``."""

    body: Ahead


@dataclass(frozen=True, slots=True)
class CommitTo:
    lsn: int


class Why(Enum):
    LOST = "the stream was lost"
    REFUSED = "the primary refused"
    OLD_EPOCH = "the primary was deposed"
    SNAPSHOT = "a snapshot is needed"
    CONTRADICTION = "histories contradict each other"
    FAULTY = "the primary broke the protocol"


@dataclass(frozen=True, slots=True)
class Leave:
    """End the feed. ``epoch`` is the highest one heard of."""

    why: Why
    detail: str
    epoch: int = 0


Effect = Send | Promise | Cut | Adopt | Append | Fetch | Settle | CommitTo | Leave
