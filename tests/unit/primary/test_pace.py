"""How large the steps of a pack become, and how much of the time is left to others."""

from __future__ import annotations

import pytest

from springtide.primary.pace import (
    BUSY_SECONDS,
    IDLE_APPLYING_SECONDS,
    REST_FACTOR,
    REST_SECONDS_MAX,
    REST_SECONDS_MIN,
    REVISIONS_FIRST,
    REVISIONS_MAX,
    REVISIONS_MIN,
    Pace,
)
from tests.unit.build import tid

SYNC_SECONDS = 0.003


def applying(pace: Pace, a_revision: float) -> float:
    return SYNC_SECONDS + pace.revisions * a_revision


def run(pace: Pace, steps: int, committing: float, a_revision: float, busy: bool) -> list[float]:
    """The rests after so many steps."""
    rests, now = [], 100.0
    for n in range(steps):
        pace.sees(tid(n + 1 if busy else 1), False, now)
        took = applying(pace, a_revision)
        rests.append(pace.took(pace.revisions, committing, took, now))
        now += committing + took + rests[-1]
    return rests


@pytest.mark.parametrize("committing", [0.004, 0.02])
@pytest.mark.parametrize("a_revision", [0.000_005, 0.000_02])
def test_while_others_commit_a_step_takes_no_longer_to_apply_than_to_commit(
    committing: float, a_revision: float
) -> None:
    pace = Pace()
    run(pace, 50, committing, a_revision, busy=True)

    assert applying(pace, a_revision) <= 1.1 * committing
    assert pace.revisions == REVISIONS_MAX or applying(pace, a_revision) > committing / 2


def test_while_others_commit_most_of_the_time_is_theirs() -> None:
    pace = Pace()
    rests = run(pace, 50, 0.004, 0.000_005, busy=True)[1:]

    assert all(rest >= 0.9 * REST_FACTOR * 0.004 and rest >= REST_SECONDS_MIN for rest in rests)
    assert pace.took(pace.revisions, 5.0, 5.0, 100.0) == REST_SECONDS_MAX


def test_where_nobody_commits_steps_are_large_and_follow_each_other_at_once() -> None:
    pace = Pace()

    assert set(run(pace, 20, 0.004, 0.000_005, busy=False)) == {0.0}
    assert pace.revisions == REVISIONS_MAX
    run(pace, 20, 0.004, 0.001, busy=False)
    assert applying(pace, 0.001) <= 1.1 * IDLE_APPLYING_SECONDS


def test_others_commit_as_long_as_their_last_commit_was_a_moment_ago() -> None:
    pace = Pace()
    pace.sees(tid(1), False, 10.0)
    assert pace.took(300, 0.004, 0.004, 10.0) == 0.0

    pace.sees(tid(2), False, 11.0)
    pace.sees(tid(2), False, 11.0 + BUSY_SECONDS / 2)
    assert pace.took(300, 0.004, 0.004, 11.0 + BUSY_SECONDS / 2) > 0.0
    assert pace.took(300, 0.004, 0.004, 11.0 + BUSY_SECONDS) == 0.0

    pace.sees(tid(2), True, 20.0)  # a vote is under way
    assert pace.took(300, 0.004, 0.004, 20.0) > 0.0


def test_a_slow_step_makes_the_next_one_smaller_and_a_small_fast_one_makes_none_larger() -> None:
    pace = Pace()
    pace.sees(tid(1), True, 10.0)
    pace.took(7, 0.004, 0.001, 10.0)
    assert pace.revisions == REVISIONS_FIRST

    for _ in range(20):
        pace.took(pace.revisions, 0.004, 1.0, 10.0)
    assert pace.revisions == REVISIONS_MIN
