"""What a primary and a follower say to each other on a feed.

Pure. One feed is one stream: the follower opens it, says ``Hello``, is welcomed
or refused, finds with ``Probe`` how far both histories agree, and asks to
``Copy`` from there. From then on entries and heartbeats come down, and
acknowledgements go up. Every message belongs to the epoch named in ``Welcome``:
a new epoch is a new stream, so nothing said in one epoch can count in another.
"""

from __future__ import annotations

from dataclasses import dataclass

from springtide.records.ahead import Ahead
from springtide.records.blobs import Named
from springtide.records.digests import Body
from springtide.records.entries import Entry
from springtide.records.ids import Member, NodeId
from springtide.records.position import Point

# -- follower to primary ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Hello:
    """Who subscribes, and in what state.

    ``promised`` is the highest epoch on the follower's disk: a primary of a lower
    one is deposed and does not know it yet. ``electable`` is False for async members.
    ``wall`` is what the follower's clock shows, in seconds since 1970; 0: it does not say.
    """

    member: Member
    uptime: str
    cluster: str
    promised: int
    last: Point
    electable: bool = True
    wall: float = 0.0


@dataclass(frozen=True, slots=True)
class Probe:
    """Does your log contain this point?"""

    at: Point


@dataclass(frozen=True, slots=True)
class Copy:
    """Both histories agree up to here: send what follows."""

    after: Point


@dataclass(frozen=True, slots=True)
class Ack:
    """Everything up to ``durable`` (an lsn) is on this follower's disk and synced.

    ``reads`` says whether the follower may serve reads (a snapshot in progress may not).
    """

    durable: int
    applied: int
    headroom_bytes: int
    reads: bool = True


@dataclass(frozen=True, slots=True)
class Confirm:
    """The follower has promised no later epoch: answers heartbeat ``round``. ``wall`` is as in ``Hello``."""

    round: int
    wall: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """These files, which were announced with ``Blobs``, or these bodies are whole and synced here."""

    ids: tuple[bytes, ...]


# -- primary to follower ---------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Welcome:
    epoch: int
    primary: NodeId
    uptime: str
    history: str
    last: Point
    #: The oldest point the primary's log can still continue from.
    oldest: Point


@dataclass(frozen=True, slots=True)
class Refused:
    """This node does not feed you. ``epoch`` is the highest it knows."""

    reason: str
    epoch: int


@dataclass(frozen=True, slots=True)
class Found:
    """The primary's log contains the probed point."""


@dataclass(frozen=True, slots=True)
class Missing:
    """The primary's log does not contain it."""


@dataclass(frozen=True, slots=True)
class TooOld:
    """The primary no longer has the entries asked for: take a snapshot."""

    oldest: Point


@dataclass(frozen=True, slots=True)
class Append:
    """Entries that follow each other and continue what was sent before.

    ``commit`` is the primary's commit point (an lsn), which may be below or above them. ``known`` are the lsns of
    entries whose body the follower has said to hold: on the wire only its first bytes, which are new, go along.
    """

    entries: tuple[Entry, ...]
    commit: int
    known: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """``age``: the seconds since the primary last had proof that it reigns, from all whose acknowledgement it needs."""

    round: int
    commit: int
    age: float = 0.0


@dataclass(frozen=True, slots=True)
class Blobs:
    """A vote under way names these files: fetch them, so that its finish need not wait for it."""

    names: tuple[Named, ...]


@dataclass(frozen=True, slots=True)
class BodyPart:
    """Of the body of a large transaction that is being voted on; the parts of one come in order."""

    id: bytes
    data: Body
    last: bool


@dataclass(frozen=True, slots=True)
class BodiesGone:
    """These are not needed any more, whole or not."""

    ids: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class Arrived:
    """The last part of a body has arrived: sync it, and say ``Held``. Made where the stream is read; never sent."""

    body: Ahead


@dataclass(frozen=True, slots=True)
class Part:
    """A part of something larger has arrived: the primary is there.

    Made where the stream is read; never sent.
    """


Upward = Hello | Probe | Copy | Ack | Confirm | Held
Downward = (
    Welcome | Refused | Found | Missing | TooOld | Append | Heartbeat | Blobs | BodyPart | BodiesGone | Arrived | Part
)
