"""What the engine takes and gives: options, answers to reads, errors of its own.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import NamedTuple

from springtide.records.entries import Blob, Entry, Kind, OidRange, Transaction, TransactionHead, Write
from springtide.records.forget import Forget
from springtide.records.ids import Oid, Tid
from springtide.records.packs import Pack
from springtide.records.position import Point

MIB = 1024 * 1024

#: What the index of a transaction that is not in memory takes for each object.
INDEX_BYTES = 20

#: The tables of the state that a snapshot carries, in the order in which it carries them.
#: "gone" comes after "objects": what is copied of it is then at least as new.
TABLES = ("objects", "transactions", "commits", "gone", "meta")


@dataclass(frozen=True, slots=True)
class EngineOptions:
    #: Address space that LMDB reserves. The file is sparse, so a large map costs nothing,
    #: while growing it under readers is not safe.
    map_bytes: int = 16 * 1024 * 1024 * MIB
    #: LMDB keeps a slot for every thread that reads, in this process and next door.
    readers_max: int = 4096
    #: A segment is the unit in which the log forgets, and what is read whole when the node starts.
    segment_bytes: int = 64 * MIB
    #: How far behind a follower may be before it needs a snapshot.
    log_retention_bytes: int = 1024 * MIB
    #: How far behind a receiver of a snapshot may fall while it copies. More than retention, because a copy takes
    #: as long as the database is large and must not outlast its log; bounded, because a receiver that
    #: never ends must not fill the disk: it then begins its copy anew.
    pinned_bytes_max: int = 4096 * MIB
    #: Entries kept in memory for the feed: a follower that keeps up never causes a read from the disk.
    recent_bytes_max: int = 32 * MIB
    #: Transactions that are too large for memory, from their first byte until they are applied: they are files.
    spool_bytes_max: int = 8192 * MIB
    #: Committed and not yet applied. Who admits commits waits above it; the engine only counts.
    overlay_bytes_max: int = 256 * MIB
    #: One synced state transaction holds at most this much; what is larger is applied in slices.
    slice_bytes: int = 16 * MIB
    slice_writes: int = 10_000
    #: What is committed is visible at once; applying waits so long for more to share a sync with,
    #: because it syncs the same disk as the log does, and nobody waits for it.
    apply_delay_seconds: float = 0.05
    #: Open the state in a child process first: a damaged page can end in a signal.
    probe: bool = True


class Result(Enum):
    FOUND = 1
    NOT_YET = 2  # the object exists, but only at or after ``before``
    UNKNOWN = 3  # no such object, or no such revision
    DELETED = 4  # the newest revision before ``before`` says that it does not exist


class Loaded(NamedTuple):
    """An answer that is exact through ``as_of``: no later revision up to there unless ``next_tid`` names it.

    ``data`` is empty unless FOUND; ``tid`` is that of the revision (FOUND, DELETED), else zero.
    """

    result: Result
    data: bytes
    tid: Tid
    next_tid: Tid | None
    as_of: Tid
    blob: Blob | None = None


class Head(NamedTuple):
    """What is told of a transaction in a history: of all of it, or of one object."""

    head: TransactionHead
    size: int  # bytes of the records
    absent: bool = False  # the one object did not exist from then on

    def of(self, data: bytes | None) -> Head:
        """The same, told of the one object of which the transaction said ``data``."""
        return Head(self.head, len(data or b""), data is None)


class Undoing(NamedTuple):
    """What must be known of one object to undo what one transaction did to it, as of one commit point.

    ``current`` is the newest revision, ``same`` says that it repeats what is to be undone, or is it.
    ``before`` is the revision that was current before the transaction, if there was any.
    """

    oid: Oid
    current: Tid
    current_absent: bool
    same: bool
    undone_absent: bool
    before: Tid | None
    write: Write | None  # what ``before`` wrote


class Current(NamedTuple):
    oid: Oid
    tid: Tid
    data: bytes


class Committed(NamedTuple):
    """An entry that has just become committed; ``transaction`` and ``pack`` only for those of that kind."""

    lsn: int
    epoch: int
    kind: Kind
    transaction: Transaction | None
    pack: Pack | None = None


@dataclass(frozen=True, slots=True)
class Decoded:
    """An entry and what it says. ``index`` finds the writes of a large transaction by oid."""

    entry: Entry
    transaction: Transaction | None
    oids: OidRange | None
    highest_oid: int
    index: Mapping[Oid, Write] | None
    pack: Pack | None = None
    forget: Forget | None = None

    @property
    def lsn(self) -> int:
        return self.entry.lsn

    @property
    def memory_bytes(self) -> int:
        """What it takes of this process's memory, about: a body that is mapped is the file cache's."""
        if self.transaction is None or isinstance(self.entry.body, bytes):
            return self.entry.memory_bytes
        return INDEX_BYTES * len(self.transaction.writes)


@dataclass(frozen=True, slots=True)
class Import:
    """A snapshot that is being taken in: it was complete through ``after`` of ``table`` when last written."""

    base: Point
    table: str
    after: bytes


@dataclass(frozen=True, slots=True)
class RangeDigest:
    """The digest covers key, flags and data of every record from ``first`` to ``last``."""

    first: bytes
    last: bytes
    records: int
    digest: bytes


class Trimmed(Exception):
    """The log no longer has the entries asked for; it can continue from ``oldest``."""

    def __init__(self, asked: int, oldest: Point) -> None:
        super().__init__(f"the log continues from {oldest} at the earliest, not from lsn {asked}")
        self.oldest = oldest
