from __future__ import annotations

import pytest

from springtide.primary import tids
from springtide.primary.retention import Policy, is_due, pack
from springtide.records.ids import TID_ZERO
from springtide.records.packs import PackBegin

DAY = 86400.0
NOW = 1_700_000_000.0
WEEKLY = Policy(7 * DAY, 1, True, DAY)


@pytest.mark.parametrize(
    ("packed", "last", "expected"),
    [
        (TID_ZERO, None, True),  # never
        (tids.tid_of(NOW - 7.9 * DAY), None, False),  # another primary did, less than a day ago
        (tids.tid_of(NOW - 8.1 * DAY), None, True),
        (tids.tid_of(NOW - 30 * DAY), NOW - 0.5 * DAY, False),  # nothing was committed since
        (tids.tid_of(NOW - 30 * DAY), NOW - 1.5 * DAY, True),
    ],
)
def test_when_a_primary_packs(packed, last, expected):
    assert is_due(WEEKLY, NOW, packed, last) is expected


def test_it_packs_to_as_much_history_as_is_to_be_kept():
    assert pack(WEEKLY, NOW) == PackBegin(tids.tid_of(NOW - 7 * DAY), True)
    assert pack(WEEKLY, 5.0).tid == tids.tid_of(0)


def test_objects_of_some_classes_keep_history_of_another_length():
    policy = Policy(7 * DAY, 2, False, DAY, (("a.Document", 90 * DAY),))

    assert pack(policy, NOW) == PackBegin(
        tids.tid_of(NOW - 7 * DAY), False, 2, (("a.Document", tids.tid_of(NOW - 90 * DAY)),)
    )
