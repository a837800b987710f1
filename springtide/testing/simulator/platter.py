"""What survives on a simulated disk when the process that wrote it dies."""

from __future__ import annotations

from dataclasses import dataclass, field

from springtide.engine.values import Import
from springtide.records.entries import Entry
from springtide.records.ids import Oid, Tid
from springtide.records.position import ORIGIN, Point
from springtide.testing.simulator.state import State


@dataclass(frozen=True, slots=True)
class Identity:
    node: str
    incarnation: str
    cluster: str = ""
    history: str = ""
    starts: int = 0
    promised: int = 0


@dataclass(frozen=True, slots=True)
class DiskSpeed:
    sync_seconds: float = 0.0005
    jitter_seconds: float = 0.003
    #: A disk that hangs for a while, now and then.
    hang_seconds: float = 1.5
    hang_chance: float = 0.002
    apply_seconds: float = 0.02
    #: Entries kept below what is applied. Few of them make snapshots necessary.
    log_retention: int = 1_000_000


@dataclass(slots=True)
class Health:
    """How the disk does just now."""

    #: Every write and sync takes up to so much longer.
    slow_seconds: float = 0.0
    #: Nothing gets done before.
    hangs_until: float = 0.0
    free_bytes: int = 2**40
    #: Lsns of entries, and revisions, that are no longer what was written.
    flipped: set[int] = field(default_factory=set)
    rotten: set[tuple[Oid, Tid]] = field(default_factory=set)

    @property
    def damaged(self) -> bool:
        return bool(self.flipped or self.rotten)


@dataclass(slots=True)
class Platter:
    identity: Identity
    base: Point = ORIGIN
    entries: list[Entry] = field(default_factory=list)
    state: State = field(default_factory=State)
    applied: int = 0
    importing: Import | None = None
    complete_at: int = 0
    diverged: list[tuple[Entry, ...]] = field(default_factory=list)
    opened: int = 0
    #: Ids of the files that are here, whole and synced.
    files: set[bytes] = field(default_factory=set)
    health: Health = field(default_factory=Health)

    @property
    def last(self) -> Point:
        return self.entries[-1].point if self.entries else self.base

    def point(self, lsn: int) -> Point | None:
        if lsn == self.base.lsn:
            return self.base
        at = lsn - self.base.lsn - 1
        return self.entries[at].point if 0 <= at < len(self.entries) else None

    def between(self, after: int, through: int) -> list[Entry]:
        return self.entries[after - self.base.lsn : through - self.base.lsn]
