"""What must be written to undo what a transaction did to one object?

Pure. A transaction can be undone where nobody needs what it said: it is still the
newest, or whatever came after it says the same. Then the object becomes what it was
before. Else the changes made since can perhaps be merged with what was before, as in any conflict.
"""

from __future__ import annotations

from dataclasses import dataclass

from springtide.client.transaction import Kind, Write
from springtide.records.entries import Blob
from springtide.records.ids import Oid, Tid


class Impossible(Exception):
    """It cannot be undone, and the text says why."""


@dataclass(frozen=True, slots=True)
class Facts:
    """One object of the transaction that is to be undone, as a node knew it at one commit point.

    ``current`` is the newest revision; ``same``: it says what the transaction said. ``before`` is the revision
    that the transaction replaced, if any, and ``data`` its record (None: it did not exist then).
    """

    oid: Oid
    current: Tid
    current_absent: bool = False
    same: bool = True
    undone_absent: bool = False
    before: Tid | None = None
    data: bytes | None = None
    references: bytes | None = None
    blob: Blob | None = None


def stands(undone: Tid, facts: Facts, former: Write | None) -> bool | None:
    """Whether the object still is as the transaction left it; None: its record and ``former``'s must be compared.

    ``former`` is what the same transaction is about to write so far.
    """
    if former is None:
        return facts.same
    if former.kind is Kind.UNDO and former.data_tid == undone:
        return True
    if former.data is None or facts.undone_absent:
        return False
    return None


def write(undone: Tid, facts: Facts, former: Write | None, stands: bool) -> Write | None:
    """What to write; None: what was before must be merged with what is current. Raises Impossible."""
    if stands:
        return _made(undone, facts, former, facts.data, facts.before, facts.references, facts.blob)
    if facts.undone_absent:
        raise Impossible("it deleted the object, which was changed by a later transaction")
    if (former.data is None) if former is not None else facts.current_absent:
        raise Impossible("the object was deleted by a later transaction")
    if facts.before is None:
        raise Impossible("it created the object, which was changed by a later transaction")
    if facts.data is None:
        raise Impossible("the object did not exist before it, and was changed by a later transaction")
    return None


def merged(undone: Tid, facts: Facts, former: Write | None, data: bytes, references: bytes | None) -> Write:
    return _made(undone, facts, former, data, None, references, None)


def _made(
    undone: Tid,
    facts: Facts,
    former: Write | None,
    data: bytes | None,
    data_tid: Tid | None,
    references: bytes | None,
    blob: Blob | None,
) -> Write:
    serial, undoes = (facts.current, ()) if former is None else (former.serial, former.undoes)
    return Write(facts.oid, serial, Kind.UNDO, data, data_tid, references, blob, (*undoes, undone))
