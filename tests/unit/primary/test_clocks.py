from __future__ import annotations

import asyncio

import pytest

from springtide.primary import clocks, tids
from springtide.primary.feed import Progress
from tests.unit.primary.test_reign import OTHER, scene, store

NOW = 1e9


@pytest.mark.parametrize(
    ("others", "used"),
    [
        ([], NOW),  # nobody to compare it with
        ([NOW - 59], NOW),
        ([NOW - 61], NOW - 61),
        ([NOW + 3600], NOW),  # behind does no harm
        ([NOW - 3600, NOW], NOW),  # one of two: as good as the other
        ([NOW - 3600, NOW - 3600], NOW - 3600),
        ([NOW - 3600, NOW - 3500, NOW - 10], NOW - 3500),
        ([NOW - 3600, NOW - 10, NOW + 5], NOW),
        ([NOW - 90, NOW - 80, NOW - 70, NOW], NOW - 80),
    ],
)
def test_a_clock_that_is_ahead_of_most_others_is_not_used(others, used):
    assert clocks.reading(NOW, others, 60.0) == used


def test_tids_are_made_by_the_clocks_of_others_where_this_one_is_far_ahead():
    async def story(court):
        loop = asyncio.get_running_loop()
        follower = court.reign.followers[OTHER] = Progress(OTHER, 0, loop.time())

        follower.clock = (NOW - 30, loop.time())
        near = await court.commit(1, store(1))
        assert court.reign.alarm is None
        follower.clock = (NOW - 3600, loop.time())
        later = await court.commit(2, store(2))

        assert tids.seconds_of(near) == pytest.approx(NOW)
        assert later == tids.following(near, 0.0), "tids grow all the same"
        assert "the clock of this node is ahead of most others' by 3600 s" in court.reign.alarm

        follower.clock = (NOW, loop.time())
        await court.commit(3, store(3))
        assert court.reign.alarm is None

    scene(story)


def test_a_clock_that_jumps_is_found_out_by_what_others_said_before():
    async def story(court):
        loop = asyncio.get_running_loop()
        follower = court.reign.followers[OTHER] = Progress(OTHER, 0, loop.time())
        follower.clock = (NOW - 7200, loop.time() - 10)

        await court.commit(1, store(1))

        assert "by 7190 s" in court.reign.alarm

    scene(story)
