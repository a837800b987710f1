"""What simulated clients say to simulated nodes, and are answered: the session's words without its wire."""

from __future__ import annotations

from dataclasses import dataclass

from springtide.engine.values import Loaded
from springtide.node.answers import Topology
from springtide.primary.conflicts import Wanted
from springtide.primary.votes import Voted
from springtide.records.entries import OidRange
from springtide.records.ids import Oid, Tid, TransactionId


@dataclass(frozen=True, slots=True)
class Vote:
    id: TransactionId
    attempt: int
    wants: tuple[Wanted, ...]
    description: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    id: TransactionId
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class Abort:
    id: TransactionId
    attempt: int


@dataclass(frozen=True, slots=True)
class AskOutcome:
    id: TransactionId
    attempt: int
    epoch: int


@dataclass(frozen=True, slots=True)
class NewOids:
    count: int


@dataclass(frozen=True, slots=True)
class Strict:
    """Confirm the reign."""


@dataclass(frozen=True, slots=True)
class Newest:
    """The commit point of this node, as a session is told it."""

    floor: Tid


@dataclass(frozen=True, slots=True)
class Load:
    oid: Oid
    before: Tid
    floor: Tid


@dataclass(frozen=True, slots=True)
class WhoLeads:
    """As a node tells at the beginning of a session, and when it changes."""


@dataclass(frozen=True, slots=True)
class Watch:
    """Tell what was committed after ``since``, and from now on what is, as it is: tids and their oids, in order."""

    since: Tid


Told = tuple[tuple[Tid, tuple[Oid, ...]], ...]

Request = Watch | Vote | Finish | Abort | AskOutcome | NewOids | Strict | Newest | Load | WhoLeads
Answer = Voted | Tid | OidRange | Loaded | Topology | Told | None
