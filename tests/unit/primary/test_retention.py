from __future__ import annotations

import pytest

from springtide.primary import tids
from springtide.primary.retention import Policy, is_due, point
from springtide.records.ids import TID_ZERO

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
    assert point(WEEKLY, NOW) == tids.tid_of(NOW - 7 * DAY)
    assert point(WEEKLY, 5.0) == tids.tid_of(0)
