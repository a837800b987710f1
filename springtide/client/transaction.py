"""The client's side of one transaction: what it wants to write, and where it stands.

Pure. Until the vote everything is only buffered here. From then on a transaction
is in one of these states, and only what a state has can be asked of it:

    Begun --vote--> Voted --finish--> Finishing --> Done
      ^               |                   |
      +---------------+----- never -------+--> Unknown

A vote belongs to one epoch and one attempt. Whenever a vote is lost, or a finish
turns out never to have happened, the transaction is ``Begun`` again with the next
attempt and its **original** records: resolved ones were made for a state that may
have changed since. Keeps the client's half of rule R10: a finish is sent once, and what
became of it is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Protocol

from springtide.records.entries import Blob
from springtide.records.ids import TID_ZERO, TRANSACTION_ID_BYTES, Oid, Tid, TransactionId

#: Spilled records are written together, up to about this much.
JOINED_BYTES = 2**20


class Kind(Enum):
    STORE = 1
    CHECK = 2
    DELETE = 3
    RESTORE = 4
    UNDO = 5


class Spilled:
    """Where a record is in the temporary file of its transaction: see ``Buffer.piece``."""

    __slots__ = ("_size", "at")

    def __init__(self, at: int, size: int) -> None:
        self.at = at
        self._size = size

    def __len__(self) -> int:
        return self._size


class TemporaryFile(Protocol):
    """Vanishes when it is no longer referred to. Raises ``NoSpace`` or ``DiskFailed``."""

    @property
    def end(self) -> int: ...
    def write(self, data: bytes, /) -> None:
        """Append."""

    def read(self, at: int, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Write:
    """What a transaction wants of one object. ``data`` is None: it shall not exist."""

    oid: Oid
    serial: Tid
    kind: Kind
    data: bytes | Spilled | None = None
    data_tid: Tid | None = None
    #: Oids that the record refers to, one after the other, where the node cannot read the record.
    references: bytes | None = None
    blob: Blob | None = None
    #: The transactions that an UNDO undoes, in the order in which it does.
    undoes: tuple[Tid, ...] = ()
    #: What the same transaction had written of the object before it undid anything. Never spilled: no connection
    #: stores and undoes in one transaction, only callers of the storage's own methods do.
    beneath: Write | None = None


@dataclass(frozen=True, slots=True)
class Metadata:
    user: bytes = b""
    description: bytes = b""
    extension: bytes = b""
    #: Given by the caller for copies; None: the primary gives one.
    tid: Tid | None = None
    status: bytes = b" "


@dataclass(frozen=True, slots=True)
class File:
    """The content of a blob, in a file of this machine."""

    path: str
    blob: Blob
    #: The write names another revision with this content, from which nodes may make this one.
    repeats: bool


@dataclass(slots=True)
class Buffer:
    """Everything a transaction wants: at most one write and one check per oid.

    A later write of an oid replaces the earlier one, as in every ZODB storage. When the records in memory have more
    than ``spill_bytes``, they are moved to one temporary file, which ``make_file`` makes.
    """

    writes: dict[Oid, Write] = field(default_factory=dict)
    checks: dict[Oid, Write] = field(default_factory=dict)
    #: The files of ``writes`` that are on this machine.
    files: dict[Oid, File] = field(default_factory=dict)
    data_bytes: int = 0
    restores: bool = False
    #: The oldest transaction that anything in here undoes.
    undoes: Tid | None = None
    spill_bytes: int = 0
    make_file: Callable[[], TemporaryFile] | None = None
    #: Bytes of the records that were put since some were spilled.
    _held: int = 0
    _file: TemporaryFile | None = None

    def put(self, write: Write, path: str | None = None) -> None:
        """``path``: the file of its blob, if it has one that has to be sent."""
        kept = self.checks if write.kind is Kind.CHECK else self.writes
        if kept is self.writes:
            self.files.pop(write.oid, None)
        if path is not None and write.blob is not None:
            self.files[write.oid] = File(path, write.blob, write.data_tid is not None)
        replaced = kept.get(write.oid)
        size = len(write.data) if write.data is not None else 0
        self.data_bytes += size if replaced is None else size - len(replaced.data or b"")
        self.restores |= write.kind is Kind.RESTORE
        if write.undoes:
            self.undoes = min(write.undoes if self.undoes is None else (self.undoes, *write.undoes))
        kept[write.oid] = write
        if size:
            self._held += size
            if self._held > self.spill_bytes and self.make_file is not None:
                self._spill(self.make_file)

    def _spill(self, make_file: Callable[[], TemporaryFile]) -> None:
        self._file = file = self._file or make_file()
        parts: list[bytes] = []
        at = file.end
        for oid, write in self.writes.items():
            if isinstance(write.data, bytes):
                self.writes[oid] = replace(write, data=Spilled(at, len(write.data)))
                parts.append(write.data)
                at += len(write.data)
                if at - file.end >= JOINED_BYTES:
                    file.write(b"".join(parts))
                    parts = []
        file.write(b"".join(parts))
        self._held = 0

    def piece(self, write: Write, start: int, size: int) -> bytes:
        """``size`` bytes of the record from ``start`` on, or fewer where it ends; nothing where there is no record."""
        data = write.data
        if data is None or isinstance(data, bytes):
            return (data or b"")[start : start + size]
        assert self._file is not None, "what was spilled is in a file"
        return self._file.read(data.at + start, min(size, len(data) - start))

    def record(self, write: Write) -> bytes | None:
        """The record as a whole."""
        return None if write.data is None else self.piece(write, 0, len(write.data))

    def written(self, oid: Oid) -> Write | None:
        """The write of an object, with its record in memory."""
        write = self.writes.get(oid)
        return write if write is None or isinstance(write.data, bytes) else replace(write, data=self.record(write))

    def all(self) -> Iterable[Write]:
        yield from self.writes.values()
        yield from self.checks.values()

    def __len__(self) -> int:
        return len(self.writes) + len(self.checks)


@dataclass(frozen=True, slots=True)
class Begun:
    id: TransactionId
    metadata: Metadata
    buffer: Buffer
    attempt: int = 1
    #: Oids of which ZODB was told that they were resolved, so that it drops its own
    #: state of them; None before the first complete vote, which tells it.
    told: frozenset[Oid] | None = None


@dataclass(frozen=True, slots=True)
class Voted:
    begun: Begun
    epoch: int
    #: Records that were made anew during the vote; None: the object does not exist from then on.
    resolved: Mapping[Oid, bytes | None]

    @property
    def late(self) -> frozenset[Oid]:
        """Oids resolved after ZODB was told which were: it must hear of these in another way."""
        return frozenset() if self.begun.told is None else frozenset(self.resolved) - self.begun.told

    def data(self, write: Write) -> bytes | None:
        """What is committed for ``write``: the resolved record, where there is one. None also if it was spilled."""
        data = self.resolved.get(write.oid, write.data)
        return data if isinstance(data, bytes) else None


@dataclass(frozen=True, slots=True)
class Finishing:
    """Its Finish was sent: only the cluster knows what became of it."""

    voted: Voted


@dataclass(frozen=True, slots=True)
class Done:
    tid: Tid


@dataclass(frozen=True, slots=True)
class Unknown:
    reason: str


class Result(Enum):
    COMMITTED = 1
    NEVER = 2
    FORGOTTEN = 3


@dataclass(frozen=True, slots=True)
class Outcome:
    result: Result
    tid: Tid = TID_ZERO


@dataclass(frozen=True, slots=True)
class Conflict:
    """One write that is based on data that has since changed, as the primary found it."""

    oid: Oid
    serial: Tid
    committed: Tid | None  # None: the object does not exist
    read_check: bool = False
    data: bytes = b""  # the committed record where it came along
    deleted: bool = False


def make_id(chance: bytes, last: Tid) -> TransactionId:
    """16 random bytes and the last tid the client has seen: it tells how old the id is."""
    made = TransactionId(chance + last)
    assert len(made) == TRANSACTION_ID_BYTES
    return made


def voted(begun: Begun, epoch: int, resolved: Mapping[Oid, bytes | None]) -> Voted:
    return Voted(begun, epoch, dict(resolved))


def finishing(vote: Voted) -> Finishing:
    return Finishing(vote)


def again(state: Begun | Voted | Finishing) -> Begun:
    """The next attempt, with the original records, after the last one came to nothing."""
    match state:
        case Begun():
            return replace(state, attempt=state.attempt + 1)
        case Voted(begun=begun, resolved=resolved):
            told = frozenset(resolved) if begun.told is None else begun.told
            return replace(begun, attempt=begun.attempt + 1, told=told)
        case Finishing(voted=vote):
            return again(vote)


def settle(state: Finishing, outcome: Outcome) -> Done | Begun | Unknown:
    """What to do once somebody who must know has said what became of a finish."""
    match outcome:
        case Outcome(result=Result.COMMITTED, tid=tid):
            return Done(tid)
        case Outcome(result=Result.NEVER):
            return again(state)
        case _:
            return Unknown("the cluster no longer remembers transactions this old")


def unresolvable(begun: Begun, conflicts: Collection[Conflict]) -> Conflict | None:
    """The first conflict that no resolution can help, if any."""
    for conflict in conflicts:
        write = begun.buffer.writes.get(conflict.oid)
        if write is not None and write.kind is Kind.UNDO and not conflict.read_check:
            continue  # undone again, from what is current now
        if (
            conflict.read_check
            or conflict.deleted
            or conflict.committed is None
            or write is None
            or write.kind is not Kind.STORE
            or write.serial == TID_ZERO
        ):
            return conflict
    return None
