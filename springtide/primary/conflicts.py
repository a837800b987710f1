"""Which of a transaction's writes are based on data that has since changed?

Pure. The primary asks once per vote, holding the locks. The answer is a list and
not an exception, because the client resolves all conflicts of a transaction in
one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum
from typing import cast

from springtide.records.entries import Blob, Write
from springtide.records.ids import TID_ZERO, Oid, Tid


class Intent(Enum):
    STORE = "store"
    CHECK = "check"
    DELETE = "delete"
    RESTORE = "restore"
    UNDO = "undo"


class Moved:
    """A record that is on disk, in the file of its transaction."""

    __slots__ = ("_size",)

    def __init__(self, size: int) -> None:
        self._size = size

    def __len__(self) -> int:
        return self._size


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing a transaction wants of one object. ``data`` is None for an absent record.

    A record too large for memory is a view of a file. Of one that was moved to disk already only the size is left.
    """

    oid: Oid
    intent: Intent
    serial: Tid
    data: bytes | memoryview | Moved | None = None
    data_tid: Tid | None = None
    references: bytes | None = None
    blob: Blob | None = None

    @property
    def size(self) -> int:
        """Of the record."""
        return len(self.data) if self.data is not None else 0

    def write(self) -> Write:
        """What the log says of it. The record is copied nowhere, though it may be a view."""
        assert not isinstance(self.data, Moved), "what was moved is in its transaction's file"
        return Write(self.oid, cast("bytes | None", self.data), self.data_tid, self.references, self.blob)

    def moved(self) -> Wanted:
        """What is left of it in memory."""
        moved = None if self.data is None else Moved(len(self.data))
        return Wanted(self.oid, self.intent, self.serial, moved, self.data_tid, None, self.blob)


@dataclass(frozen=True, slots=True)
class Conflict:
    oid: Oid
    serial: Tid
    #: What is current; None: there is no such object.
    committed: Tid | None
    intent: Intent


def conflicts(wanted: Iterable[Wanted], current: Callable[[Oid], Tid | None]) -> list[Conflict]:
    """The wants whose serial is not the current one.

    A store of an object that nobody knows is accepted whatever its serial, as
    FileStorage does: the object may have been packed away under its writer.
    """
    found = []
    for want in wanted:
        if want.intent is Intent.RESTORE:
            continue
        committed = current(want.oid)
        if committed is None and want.intent is Intent.STORE:
            continue
        if committed is None and want.intent is Intent.CHECK and want.serial == TID_ZERO:
            continue
        if committed != want.serial:
            found.append(Conflict(want.oid, want.serial, committed, want.intent))
    return found
