"""When ids of committed transactions are forgotten, and what is said of them then."""

from __future__ import annotations

import asyncio

import pytest

from springtide import errors
from springtide.primary import forgetting, tids
from springtide.primary.votes import Ticket
from springtide.records.entries import Kind
from springtide.records.forget import Forget, decode_forget
from springtide.records.ids import TID_ZERO, TransactionId, next_tid
from tests.unit.build import tid
from tests.unit.primary.test_reign import name, scene, store

NOW = 1e9  # the court's clock


def began_at(number, seen):
    """An id of a client that had seen ``seen``."""
    return TransactionId(number.to_bytes(16, "big") + seen)


@pytest.mark.parametrize("seconds", [0.0, 951782399.5, 1709164800.0, 1e9 + 0.25, 4102444799.0])
def test_a_tid_stands_for_its_time(seconds):
    assert tids.seconds_of(tids.tid_of(seconds)) == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("last", "now", "expected"),
    [
        (1000.0, 1000.0, 900.0),
        (1000.0, 5000.0, 900.0),  # nothing was committed lately, or what is copied in is old
        (5000.0, 1000.0, 900.0),  # tids are ahead of the clock
        (50.0, 1000.0, 0.0),
    ],
)
def test_what_was_committed_lately_is_remembered_whatever_the_clock_says(last, now, expected):
    assert forgetting.limit(tids.tid_of(last), 100.0, now) == tids.tid_of(expected)


def test_an_empty_database_forgets_nothing():
    assert forgetting.limit(TID_ZERO, 1.0, NOW) == TID_ZERO


def test_ids_are_forgotten_in_steps_by_entries_of_the_log(monkeypatch):
    monkeypatch.setattr(forgetting, "STEP_IDS", 2)

    async def story(court):
        committed = [await court.commit(number, store(number)) for number in range(1, 6)]
        below = next_tid(committed[4])

        forgets = asyncio.ensure_future(forgetting._forget(court.reign, below))
        while not forgets.done():
            await court.synced()

        said = [decode_forget(entry.body) for entry in court.disk.log if entry.kind is Kind.FORGET]
        ends = [next_tid(committed[1]), next_tid(committed[3]), below]
        assert said == [Forget(TID_ZERO, ends[0]), Forget(ends[0], ends[1]), Forget(ends[1], ends[2])]

    scene(story)


async def _forgets(court, before):
    court.disk.forgotten = before
    court.disk.outcomes = {}


def test_of_an_id_that_may_have_been_forgotten_nobody_says_never():
    async def story(court):
        await _forgets(court, tid(100))

        with pytest.raises(errors.OutcomeUnknown, match="is forgotten"):
            await court.reign.outcome(began_at(1, tid(99)), 1, 3)
        assert await court.reign.outcome(began_at(1, tid(100)), 1, 3) is None

    scene(story)


def test_an_old_id_whose_outcome_is_still_known_is_answered():
    async def story(court):
        await _forgets(court, tid(100))
        court.disk.outcomes[began_at(1, tid(99))] = tid(150)

        assert await court.reign.outcome(began_at(1, tid(99)), 1, 3) == tid(150)

    scene(story)


def test_a_transaction_of_which_nobody_could_tell_the_outcome_is_begun_anew():
    async def story(court):
        await _forgets(court, tid(100))
        for id in (began_at(1, tid(99)), began_at(2, tid(100))):
            court.reign.collect(id, 1, "s", [store(id[15])])

        with pytest.raises(errors.VoteTimedOut, match="must be begun anew"):
            await court.reign.vote(began_at(1, tid(99)), 1, "s", Ticket(), 1)
        assert not (await court.reign.vote(began_at(2, tid(100)), 1, "s", Ticket(), 1)).conflicts

    scene(story)


def test_names_of_these_tests_began_at_a_tid():
    assert name(7)[16:] == tid(7)
