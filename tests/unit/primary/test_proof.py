"""How old is a primary's proof that it reigns?"""

from __future__ import annotations

from springtide.primary.feed import Progress
from tests.unit.build import member
from tests.unit.primary.test_reign import ME, OTHER, scene

THIRD = member("c")


def test_a_primary_that_needs_nobody_has_proof_at_any_time():
    async def story(court):
        assert court.reign.proven_at(123.0) == 123.0

    scene(story)


def test_the_one_who_was_silent_for_longest_counts():
    async def story(court):
        reign = court.reign
        reign.followers[OTHER] = Progress(OTHER, 0, 50.0)
        reign.followers[THIRD] = Progress(THIRD, 0, 40.0)
        assert reign.proven_at(60.0) == 40.0

        del reign.followers[THIRD]
        reign.lost[THIRD] = 45.0
        assert reign.proven_at(60.0) == 45.0

        del reign.lost[THIRD]  # never seen in this reign
        assert reign.proven_at(60.0) == min(50.0, reign.began)

    scene(story, ME, OTHER, THIRD)
