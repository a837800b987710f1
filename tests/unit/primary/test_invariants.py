"""What stops a primary, because a rule of the protocol would not hold."""

from __future__ import annotations

import pytest

from springtide import errors
from springtide.primary.commits import Commits
from springtide.records.ids import TID_ZERO
from tests.unit.build import member, tid
from tests.unit.primary.test_reign import ME, OTHER, Court, name, scene, store


def broken(court: Court, rule: str) -> None:
    failure = court.reign.failure
    assert isinstance(failure, errors.Broken) and failure.invariant == rule
    assert court.reign.ended.done()


def test_a_transaction_is_not_committed_a_second_time():
    async def story(court):
        await court.vote(1, store(1))
        court.disk.outcomes[name(1)] = tid(5)

        with pytest.raises(errors.Broken, match="a second time"):
            court.finish(name(1))

        broken(court, "I7")
        assert len(court.disk.log) == 1

    scene(story)


def test_an_epoch_is_begun_once():
    async def story(court):
        with pytest.raises(errors.Broken, match="epoch 3 would begin in a log that ends at 3/1"):
            type(court.reign)(court.disk, ME, 3, "again", [frozenset({ME})], 1, court.reign.settings, *[None] * 2)

    scene(story)


def test_nobody_acknowledges_what_is_not_in_the_log():
    async def story(court):
        with pytest.raises(errors.Broken, match="acknowledges 9"):
            court.reign.acknowledged(OTHER, 9)

        broken(court, "R3")

    scene(story)


def test_a_primary_is_one_of_those_whose_disks_a_commit_needs():
    async def story(court):
        with pytest.raises(errors.Broken, match="without its own disk"):
            court.reign.require([frozenset({ME}), frozenset({OTHER})], 1)

        broken(court, "R3")

    scene(story)


def test_tids_grow_also_where_one_was_asked_for():
    async def story(court):
        await court.vote(1, store(1))
        court.reign._last_tid = tid(2**63)
        court.reign._votes.find(name(1), 1).ticket = type(court.reign._votes.find(name(1), 1).ticket)(tid=tid(9))

        with pytest.raises(errors.Broken, match="would follow"):
            court.finish(name(1))

        broken(court, "R11")

    scene(story)


def test_a_disk_on_which_a_rule_breaks_ends_the_reign():
    async def story(court):
        def commit(lsn):
            raise errors.Broken("I7", "committed a second time")

        await court.vote(1, store(1))
        court.finish(name(1))
        court.disk.commit = commit
        court.reign.commits.acknowledged(ME, 2)

        with pytest.raises(errors.Broken):
            court.reign._commit()

        broken(court, "I7")
        assert court.disk.commit_tid == TID_ZERO

    scene(story)


@pytest.mark.parametrize("sets", [[], [frozenset()], [frozenset({member("a")}), frozenset()]])
def test_commits_need_somebody(sets):
    with pytest.raises(errors.Broken, match="nobody's acknowledgement"):
        Commits(1, 0, sets, 1)
