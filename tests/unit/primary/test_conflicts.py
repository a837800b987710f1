import pytest

from springtide.primary.conflicts import Conflict, Intent, Wanted, conflicts
from springtide.records.ids import TID_ZERO, oid
from tests.unit.build import tid

CURRENT = {oid(1): tid(5), oid(2): tid(7)}
STORE, CHECK, DELETE, RESTORE, UNDO = Intent


@pytest.mark.parametrize(
    ("wanted", "committed"),
    [
        (Wanted(oid(1), STORE, tid(5), b"x"), "fine"),
        (Wanted(oid(1), STORE, tid(4), b"x"), tid(5)),
        (Wanted(oid(1), STORE, TID_ZERO, b"x"), tid(5)),
        (Wanted(oid(9), STORE, TID_ZERO, b"x"), "fine"),
        (Wanted(oid(9), STORE, tid(3), b"x"), "fine"),  # packed away under its writer
        (Wanted(oid(2), CHECK, tid(7)), "fine"),
        (Wanted(oid(2), CHECK, tid(5)), tid(7)),
        (Wanted(oid(9), CHECK, tid(5)), None),
        (Wanted(oid(2), DELETE, tid(5)), tid(7)),
        (Wanted(oid(9), DELETE, tid(5)), None),
        (Wanted(oid(1), RESTORE, tid(1), b"x"), "fine"),
        (Wanted(oid(1), UNDO, tid(5), b"x"), "fine"),
        (Wanted(oid(1), UNDO, tid(4), None), tid(5)),
        (Wanted(oid(9), UNDO, tid(4), b"x"), None),  # packed away under whoever undoes
    ],
)
def test_what_conflicts_with_what_is_current(wanted, committed):
    expected = [] if committed == "fine" else [Conflict(wanted.oid, wanted.serial, committed, wanted.intent)]

    assert conflicts([wanted], CURRENT.get) == expected


def test_all_conflicts_come_at_once():
    wanted = [Wanted(oid(1), STORE, tid(1), b"x"), Wanted(oid(2), CHECK, tid(1))]

    assert [conflict.oid for conflict in conflicts(wanted, CURRENT.get)] == [oid(1), oid(2)]
