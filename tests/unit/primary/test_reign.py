"""A reign on a disk and with followers that do what the test says."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from springtide import errors
from springtide.primary.conflicts import Intent, Wanted
from springtide.primary.leadership import Settings
from springtide.primary.reign import Reign
from springtide.primary.votes import WANT_BYTES, Ticket
from springtide.records.entries import Kind
from springtide.records.ids import TID_ZERO, TransactionId, oid
from tests.unit.build import member, tid
from tests.unit.primary.fake_disk import FakeDisk

ME, OTHER = member("a"), member("b")
WAIT = Settings(vote_wait_seconds=0.05, heartbeat_seconds=0.01)


def name(number: int) -> TransactionId:
    return TransactionId(number.to_bytes(24, "big"))


class Court:
    """A reign of ``ME`` alone, unless said otherwise, and what it told of commits."""

    def __init__(self, *members, minimum=1, settings=WAIT):
        self.disk = FakeDisk()
        self.told: list[int] = []
        self.given_up: list[TransactionId] = []
        required = [frozenset(members or (ME,))]
        self.reign = Reign(
            self.disk,
            ME,
            3,
            "uptime",
            required,
            minimum,
            settings,
            lambda: 1e9,
            lambda done: self.told.extend(c.lsn for c in done),
        )

    async def established(self) -> Court:
        await self.synced()
        assert self.reign.commits.established
        return self

    async def synced(self) -> None:
        self.disk.sync()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    async def vote(self, number, *wanted, attempt=1, session="s", ticket=Ticket()):  # noqa: B008
        self.reign.collect(name(number), attempt, session, wanted)
        return await self.reign.vote(name(number), attempt, session, ticket, len(wanted))

    def finish(self, id, attempt=1, epoch=3):
        self.reign.finish(id, attempt, epoch, lambda: self.given_up.append(id))

    async def commit(self, number, *wanted):
        voted = await self.vote(number, *wanted)
        assert not voted.conflicts
        self.finish(name(number), 1, 3)
        await self.synced()
        return self.disk.outcomes[name(number)]


def store(number, serial=TID_ZERO, data=b"x"):
    return Wanted(oid(number), Intent.STORE, serial, data)


def scene(story: Callable[[Court], Awaitable[None]], *members, **options) -> None:
    async def play():
        court = Court(*members, **options)
        if not members:
            await court.established()
        await story(court)

    asyncio.run(asyncio.wait_for(play(), 10))


def test_a_transaction_is_told_of_once_its_entry_is_synced():
    async def story(court):
        await court.vote(1, store(1))
        court.finish(name(1), 1, 3)

        assert court.told == [1]
        await court.synced()
        assert court.told == [1, 2]

    scene(story)


def test_nothing_is_committed_before_the_follower_has_it():
    async def story(court):
        await court.synced()
        assert not court.reign.commits.established

        court.reign.acknowledged(OTHER, 1)

        assert court.told == [1]

    scene(story, ME, OTHER)


def test_votes_wait_for_in_sync_members_and_then_say_whom_they_waited_for():
    async def story(court):
        await court.synced()
        court.reign.acknowledged(OTHER, 1)

        with pytest.raises(errors.BelowMinimum, match="nothing is heard of b, which must be in sync"):
            await court.vote(1, store(1))

    scene(story, ME, OTHER)


def test_a_second_writer_waits_for_the_first_and_then_conflicts():
    async def story(court):
        first = await court.commit(1, store(1))
        await court.vote(2, store(1, first))
        waiting = asyncio.ensure_future(court.vote(3, store(1, first)))
        await asyncio.sleep(0)

        court.finish(name(2), 1, 3)
        await court.synced()
        voted = await waiting

        assert [(c.serial, c.committed) for c in voted.conflicts] == [(first, court.disk.serials[oid(1)])]

    scene(story)


def test_a_wait_for_locks_has_an_end():
    async def story(court):
        await court.vote(1, store(1))

        with pytest.raises(errors.VoteTimedOut):
            await court.vote(2, store(1))
        court.reign.abort(name(1), 1)
        await court.vote(3, store(1))

    scene(story)


def test_resolved_conflicts_are_voted_again_under_the_same_locks():
    async def story(court):
        first = await court.commit(1, store(1))
        voted = await court.vote(2, store(1, TID_ZERO))
        assert voted.conflicts

        again = await court.vote(2, store(1, first, b"resolved"))

        assert not again.conflicts

    scene(story)


def test_transactions_on_other_objects_do_not_wait():
    async def story(court):
        await court.vote(1, store(1))
        await court.vote(2, store(2))
        court.finish(name(2), 1, 3)
        court.finish(name(1), 1, 3)
        await court.synced()

        assert court.disk.outcomes[name(2)] < court.disk.outcomes[name(1)]

    scene(story)


def test_tids_grow_though_the_clock_stands_still():
    async def story(court):
        tids = [await court.commit(number, store(number)) for number in range(1, 5)]

        assert tids == sorted(set(tids))

    scene(story)


def test_a_finish_of_another_epoch_or_attempt_appends_nothing():
    async def story(court):
        await court.vote(1, store(1), attempt=2)
        for attempt, epoch in [(2, 2), (2, 4), (1, 3)]:
            with pytest.raises(errors.BadRequest):
                court.finish(name(1), attempt, epoch)

        assert court.disk.last.lsn == 1

    scene(story)


def test_never_stays_true():
    async def story(court):
        await court.vote(1, store(1))

        assert await court.reign.outcome(name(1), 1, 3) is None

        with pytest.raises(errors.BadRequest):
            court.finish(name(1), 1, 3)
        with pytest.raises(errors.BadRequest, match="given up"):
            await court.vote(1, store(1), attempt=1)
        assert not (await court.vote(1, store(1), attempt=2)).conflicts

    scene(story)


def test_the_outcome_of_what_is_in_the_log_waits_for_the_commit():
    async def story(court):
        await court.vote(1, store(1))
        court.finish(name(1), 1, 3)
        asked = asyncio.ensure_future(court.reign.outcome(name(1), 1, 3))
        await asyncio.sleep(0)
        assert not asked.done()

        await court.synced()

        assert await asked == court.disk.outcomes[name(1)]

    scene(story)


def test_a_committed_id_is_not_voted_again():
    async def story(court):
        await court.commit(1, store(1))

        with pytest.raises(errors.BadRequest, match="committed already"):
            await court.vote(1, store(1), attempt=2)

    scene(story)


def test_only_a_primary_of_that_epoch_or_a_later_one_answers_for_an_outcome():
    async def story(court):
        with pytest.raises(errors.NotPrimary):
            await court.reign.outcome(name(1), 1, 4)

    scene(story)


def test_a_session_that_ends_gives_its_locks_back():
    async def story(court):
        await court.vote(1, store(1), session="gone")

        court.reign.session_ended("gone")

        assert not (await court.vote(2, store(1))).conflicts

    scene(story)


def test_what_nobody_finishes_is_given_up_after_a_while():
    async def story(court):
        await court.vote(1, store(1))

        court.reign.drop_hanging(asyncio.get_running_loop().time() + WAIT.transaction_timeout_seconds + 1)

        assert not (await court.vote(2, store(1))).conflicts

    scene(story)


def test_a_given_tid_keeps_others_from_finishing_until_it_is_done():
    async def story(court):
        given = tid(2**60)
        await court.vote(1, store(1), ticket=Ticket(tid=given))
        await court.vote(2, store(2))
        court.finish(name(2), 1, 3)
        assert court.disk.last.lsn == 1

        court.finish(name(1), 1, 3)
        await court.synced()
        await court.synced()

        assert court.disk.outcomes[name(1)] == given < court.disk.outcomes[name(2)]

    scene(story)


def test_a_given_tid_that_is_not_above_the_last_is_refused_at_vote():
    async def story(court):
        last = await court.commit(1, store(1))

        with pytest.raises(errors.BadRequest, match="not above the last"):
            await court.vote(2, store(2), ticket=Ticket(tid=last))
        assert not (await court.vote(3, store(2))).conflicts

    scene(story)


def test_ranges_of_oids_are_committed_before_they_are_given_and_lie_above_every_stored_oid():
    async def story(court):
        await court.commit(1, store(500))
        asked = asyncio.ensure_future(court.reign.oids(100))
        await asyncio.sleep(0)
        assert not asked.done()
        await court.synced()

        given = await asked

        assert (given.first, given.count) == (501, 100)
        assert court.disk.log[-1].kind is Kind.OIDS

    scene(story)


def test_a_disk_that_is_nearly_full_refuses_the_vote():
    async def story(court):
        court.disk.room = 2**20

        with pytest.raises(errors.NoSpace, match="node a"):
            await court.vote(1, store(1))
        court.disk.room = 2**40
        assert not (await court.vote(2, store(1))).conflicts

    scene(story)


def test_a_failed_sync_ends_the_reign():
    async def story(court):
        await court.vote(1, store(1))
        court.finish(name(1), 1, 3)

        court.disk.fail(OSError("EIO"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)

        assert "EIO" in court.reign.ended.result()
        with pytest.raises(errors.NotPrimary):
            await court.vote(2, store(2))
        assert court.told == [1]

    scene(story)


def test_after_the_end_nothing_is_committed_though_acknowledgements_come():
    async def story(court):
        await court.synced()
        court.reign.end("epoch 4 has begun")

        court.reign.acknowledged(OTHER, 1)

        assert court.told == []

    scene(story, ME, OTHER)


def test_a_hand_over_holds_finishes_back_and_a_failed_one_lets_them_go():
    async def story(court):
        await court.vote(1, store(1))
        quiet = asyncio.ensure_future(court.reign.quiesce(ME))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        court.finish(name(1), 1, 3)
        assert court.disk.last.lsn == 1
        await quiet

        court.reign.resume()

        assert court.disk.last.lsn == 2

    scene(story)


def test_the_settings_bound_what_is_collected():
    async def story(court):
        with pytest.raises(errors.TooLarge, match="record_bytes_max"):
            await court.vote(1, store(1, data=b"x" * 11))
        with pytest.raises(errors.BadRequest, match="0 writes arrived of 1"):
            await court.reign.vote(name(1), 2, "s", Ticket(), 1)

    scene(story, settings=replace(WAIT, record_bytes_max=10))


def test_a_held_finish_with_a_given_tid_is_not_held_back_by_its_own_lock():
    async def story(court):
        given = tid(2**60)
        await court.vote(1, store(1), ticket=Ticket(tid=given))
        await court.vote(2, store(2))
        quiet = asyncio.ensure_future(court.reign.quiesce(ME))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        court.finish(name(2))
        court.finish(name(1))
        await quiet

        court.reign.resume()
        await court.synced()
        await court.synced()

        assert court.disk.outcomes[name(1)] == given < court.disk.outcomes[name(2)]

    scene(story)


def test_a_given_tid_waits_for_objects_before_it_holds_others_back():
    async def story(court):
        first = await court.commit(1, store(1))
        await court.vote(2, store(1, first))
        restoring = asyncio.ensure_future(
            court.vote(3, Wanted(oid(1), Intent.RESTORE, TID_ZERO, b"r"), ticket=Ticket(tid=tid(2**60)))
        )
        await asyncio.sleep(0)

        court.finish(name(2))
        await court.synced()

        assert not (await restoring).conflicts

    scene(story)


def test_whoever_asked_for_a_finish_hears_that_it_was_given_up():
    async def story(court):
        await court.vote(1, store(1), ticket=Ticket(tid=tid(2**60)))
        await court.vote(2, store(2), session="gone")
        court.finish(name(2))

        court.reign.drop_hanging(asyncio.get_running_loop().time() + WAIT.transaction_timeout_seconds + 1)
        assert court.given_up == [], "the first is given up, and then it is the turn of the second"
        await court.synced()
        assert name(2) in court.disk.outcomes

        await court.vote(3, store(3), ticket=Ticket(tid=tid(2**61)))
        await court.vote(4, store(4), session="gone")
        court.finish(name(4))
        court.reign.session_ended("gone")
        assert court.given_up == [name(4)]

    scene(story)


def test_a_second_vote_after_the_finish_changes_nothing():
    async def story(court):
        await court.vote(1, store(1))
        court.finish(name(1))

        with pytest.raises(errors.BadRequest, match="finishing already"):
            await court.reign.vote(name(1), 1, "s", Ticket(), 1)
        asked = asyncio.ensure_future(court.reign.outcome(name(1), 1, 3))
        await court.synced()

        assert await asked == court.disk.outcomes[name(1)]

    scene(story)


def test_resolving_conflicts_adds_no_objects_that_are_not_locked():
    async def story(court):
        await court.commit(1, store(1))
        assert (await court.vote(2, store(1, TID_ZERO))).conflicts
        court.reign.collect(name(2), 1, "s", [store(1), store(8)])

        with pytest.raises(errors.BadRequest, match="did not vote on"):
            await court.reign.vote(name(2), 1, "s", Ticket(), 2)

    scene(story)


def test_oids_do_not_go_beyond_what_zodb_can_number():
    async def story(court):
        await court.commit(1, store(2**63 - 50))

        with pytest.raises(errors.BadRequest, match="must be asked"):
            await court.reign.oids(100)

    scene(story)


def test_what_is_collected_at_the_same_time_is_bounded():
    async def story(court):
        for number in range(3):
            court.reign.collect(name(number), 1, "s", [store(number, data=bytes(900))])

        with pytest.raises(errors.VoteTimedOut):
            court.reign.collect(name(9), 1, "s", [store(9, data=bytes(900))])
        court.reign.session_ended("s")
        court.reign.collect(name(9), 1, "t", [store(9, data=bytes(900))])

    scene(story, settings=replace(WAIT, memory_bytes_max=3 * (900 + WANT_BYTES) + 500))


@pytest.mark.parametrize(("undoes", "refused"), [(tid(5), False), (tid(4), True), (tid(3), True), (None, False)])
def test_what_was_packed_by_the_time_of_the_vote_is_not_undone(undoes, refused):
    async def story(court):
        court.disk.packed = tid(4)
        vote = court.vote(1, Wanted(oid(1), Intent.RESTORE, TID_ZERO, b"x"), ticket=Ticket(undoes=undoes))

        if refused:
            with pytest.raises(errors.Packed, match="cannot be undone: the database was packed up to"):
                await vote
        else:
            assert not (await vote).conflicts

    scene(story)


def test_an_undo_is_based_on_what_is_current_even_where_that_is_a_deletion():
    async def story(court):
        made = await court.commit(1, store(1))
        gone = await court.commit(2, Wanted(oid(1), Intent.DELETE, made))

        late = await court.vote(3, Wanted(oid(1), Intent.UNDO, made, b"x", made))
        assert [conflict.committed for conflict in late.conflicts] == [gone]
        again = await court.vote(3, Wanted(oid(1), Intent.UNDO, gone, b"x", made))

        assert not again.conflicts

    scene(story)
