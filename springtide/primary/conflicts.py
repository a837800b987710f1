"""Which of a transaction's writes are based on data that has since changed?

Pure. The primary asks once per vote, holding the locks. The answer is a list and
not an exception, because the client resolves all conflicts of a transaction in
one round trip.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum

from springtide.records.entries import Blob
from springtide.records.ids import TID_ZERO, Oid, Tid


class Intent(Enum):
    STORE = "store"
    CHECK = "check"
    DELETE = "delete"
    RESTORE = "restore"
    UNDO = "undo"


@dataclass(frozen=True, slots=True)
class Wanted:
    """One thing a transaction wants of one object. ``data`` is None for an absent record."""

    oid: Oid
    intent: Intent
    serial: Tid
    data: bytes | None = None
    data_tid: Tid | None = None
    references: bytes | None = None
    blob: Blob | None = None


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
