"""What is written to undo one object: the rows of FileStorage's ``_transactionalUndoRecord``, and no others."""

from __future__ import annotations

import pytest

from springtide.client import undo
from springtide.client.transaction import Kind, Write
from springtide.client.undo import Facts, Impossible
from springtide.records.entries import Blob
from springtide.records.ids import oid
from tests.unit.build import tid

UNDONE = tid(5)
BLOB = Blob(b"i" * 16, 3, b"d" * 16)


def facts(**changed):
    """Transaction 5 wrote the object, over revision 4, and it is still the newest."""
    return Facts(**{"oid": oid(1), "current": UNDONE, "before": tid(4), "data": b"before", **changed})


def later(**changed):
    """A later transaction wrote something else."""
    return facts(current=tid(7), same=False, **changed)


def an_undo(data, data_tid=None):
    return Write(oid(1), tid(7), Kind.UNDO, data, data_tid, undoes=(tid(7),))


COPIED = Write(oid(1), UNDONE, Kind.UNDO, b"before", tid(4), undoes=(UNDONE,))
CREATION = {"before": None, "data": None}
DELETION_BEFORE = {"data": None}


@pytest.mark.parametrize(
    ("what", "given", "written"),
    [
        ("the newest", facts(), COPIED),
        ("a creation", facts(**CREATION), Write(oid(1), UNDONE, Kind.UNDO, undoes=(UNDONE,))),
        (
            "what came after a deletion",
            facts(**DELETION_BEFORE),
            Write(oid(1), UNDONE, Kind.UNDO, None, tid(4), undoes=(UNDONE,)),
        ),
        ("a deletion", facts(undone_absent=True, current_absent=True), COPIED),
        (
            "what a later one repeats",
            facts(current=tid(7)),
            Write(oid(1), tid(7), Kind.UNDO, b"before", tid(4), undoes=(UNDONE,)),
        ),
        (
            "with its blob and references",
            facts(references=oid(2), blob=BLOB),
            Write(oid(1), UNDONE, Kind.UNDO, b"before", tid(4), oid(2), BLOB, (UNDONE,)),
        ),
        ("what was changed since", later(), "merge"),
        ("a creation that was changed since", later(**CREATION), "it created the object, which was changed"),
        ("a return that was changed since", later(**DELETION_BEFORE), "the object did not exist before it"),
        ("what was deleted since", later(current_absent=True), "the object was deleted by a later transaction"),
        ("a deletion that was changed since", later(undone_absent=True), "it deleted the object, which was changed"),
    ],
)
def test_what_one_undo_writes(what, given, written):
    def made():
        return undo.write(UNDONE, given, None, undo.stands(UNDONE, given, None))

    if written == "merge":
        assert made() is None, what
    elif isinstance(written, str):
        with pytest.raises(Impossible, match=written):
            made()
    else:
        assert made() == written, what


@pytest.mark.parametrize(
    ("what", "given", "former", "stands"),
    [
        ("an undo of the one after it repeats it", later(), an_undo(b"undone", UNDONE), True),
        ("a record of its own must be compared", later(), an_undo(b"merged"), None),
        ("so must a copy of another", later(), an_undo(b"other", tid(6)), None),
        ("nothing is not the record", later(), an_undo(None, tid(6)), False),
        ("nor is a record nothing", later(undone_absent=True), an_undo(b"x"), False),
        ("a deletion that an undo repeats", later(undone_absent=True), an_undo(None, UNDONE), True),
        ("what is stored must be compared", facts(), Write(oid(1), UNDONE, Kind.STORE, b"x"), None),
        (
            "so must what is restored, whatever it says",
            facts(),
            Write(oid(1), UNDONE, Kind.RESTORE, b"x", UNDONE),
            None,
        ),
        ("a deletion is not the record", facts(), Write(oid(1), UNDONE, Kind.DELETE), False),
    ],
)
def test_a_later_undo_sees_what_the_same_transaction_writes(what, given, former, stands):
    assert undo.stands(UNDONE, given, former) is stands, what


def test_several_undos_of_one_object_are_one_write_based_on_what_the_first_saw():
    former = an_undo(b"undone", UNDONE)

    made = undo.write(UNDONE, facts(current=tid(9), same=False), former, True)

    assert made == Write(oid(1), tid(7), Kind.UNDO, b"before", tid(4), undoes=(tid(7), UNDONE))


def test_what_an_earlier_undo_took_away_cannot_be_merged_with():
    with pytest.raises(Impossible, match="deleted by a later"):
        undo.write(UNDONE, later(), an_undo(None, tid(3)), False)


def test_a_merged_record_repeats_nothing():
    made = undo.merged(UNDONE, later(references=oid(9), blob=BLOB), None, b"merged", oid(3))

    assert made == Write(oid(1), tid(7), Kind.UNDO, b"merged", None, oid(3), undoes=(UNDONE,))
