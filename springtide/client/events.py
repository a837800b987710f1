"""What can happen to a view, in the order in which a session tells it."""

from __future__ import annotations

from dataclasses import dataclass

from springtide.client.messages import Loaded, Purged
from springtide.client.pending import Pending
from springtide.records.ids import Oid, Tid


class Ticket:
    """A place in the order of events at which a committing thread wants the turn."""

    __slots__ = ("given_up", "handed", "oids", "pending")

    def __init__(self, oids: tuple[Oid, ...] = ()) -> None:
        self.oids = oids
        self.pending: Pending[Tid | None] = Pending()
        self.handed = False
        self.given_up = False


@dataclass(frozen=True, slots=True)
class Changed:
    tid: Tid
    oids: tuple[Oid, ...]


@dataclass(frozen=True, slots=True)
class Turn:
    """``tid`` is the ticket's own commit, or None if it only wants the turn."""

    ticket: Ticket
    tid: Tid | None


@dataclass(frozen=True, slots=True)
class Prefetched:
    loaded: Loaded
    history: str


@dataclass(frozen=True, slots=True)
class Continued:
    """Another session tells what follows, all of it, and what packs took away. See ``leap`` for the pack point."""

    packed: Tid


@dataclass(frozen=True, slots=True)
class Restart:
    last: Tid
    history: str
    packs: int
    cluster: str = ""


@dataclass(frozen=True, slots=True)
class Resumed:
    """The session tells all changes since the shelf was last written; what is known counts from ``through`` on."""

    through: Tid
    packs: int
    packed: Tid


Event = Changed | Turn | Prefetched | Purged | Continued | Restart | Resumed
