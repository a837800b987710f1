"""Files that votes name: what followers are told of, and whom a vote waits for."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from springtide import errors
from springtide.primary.conflicts import Intent, Wanted
from springtide.primary.feed import Progress
from springtide.primary.files import Announced
from springtide.primary.votes import Phase, Ticket
from springtide.records.blobs import Named
from springtide.records.entries import Blob
from springtide.records.ids import TID_ZERO, oid
from tests.unit.build import member
from tests.unit.primary.test_reign import ME, OTHER, Court, name, scene, store

ONE, TWO = (Named(Blob(letter * 16, 1, bytes(16)), oid(1)) for letter in (b"1", b"2"))


def with_file(number: int = 1, named: Named = ONE) -> Wanted:
    return replace(store(number), blob=named.blob)


def follows(court: Court) -> Progress:
    progress = court.reign.followers[OTHER] = Progress(OTHER, 1, asyncio.get_running_loop().time() + 100)
    progress.headroom_bytes = 2**40
    court.reign.announced.begun(progress)
    return progress


def test_each_follower_is_told_once_of_each_file() -> None:
    announced = Announced()
    announced.begun("b")
    announced.add([ONE])
    assert announced.untold("b") == (ONE,)
    announced.add([ONE, TWO])

    assert announced.untold("b") == (TWO,)
    assert announced.untold("b") == ()
    announced.begun("c")
    assert announced.untold("c") == (ONE, TWO)


def test_what_a_follower_holds_counts_as_long_as_its_feed_and_a_vote_last() -> None:
    announced, who = Announced(), member("b")
    announced.begun("b")
    announced.add([ONE])
    announced.held("b", [ONE.blob.id, b"never asked for"])
    assert announced.missing([ONE], {who: "b"}) == []
    assert announced.missing([ONE], {who: "another feed of it"}) == [who]

    announced.add([ONE])
    announced.drop([ONE])
    assert announced.missing([ONE], {who: "b"}) == []
    announced.drop([ONE])
    announced.add([ONE])

    assert announced.missing([ONE], {who: "b"}) == [who]
    assert announced.untold("b") == (ONE,)


def test_a_vote_without_its_files_says_so_keeps_the_writes_and_holds_no_locks() -> None:
    async def story(court):
        voted = await court.vote(1, with_file())
        assert voted.missing_blobs == (ONE.blob.id,) and not voted.conflicts
        assert not (await court.vote(2, store(1))).missing_blobs
        court.reign.abort(name(2), 1)

        court.disk.blobs.held.add(ONE.blob.id)
        again = await court.reign.vote(name(1), 1, "s", Ticket(), 1)

        assert not again.missing_blobs
        court.finish(name(1))
        await court.synced()
        assert court.disk.outcomes[name(1)]

    scene(story)


def test_a_vote_waits_for_the_in_sync_followers_to_hold_its_files() -> None:
    async def story(court):
        await court.synced()
        court.reign.acknowledged(OTHER, 1)
        progress = follows(court)
        court.disk.blobs.held.add(ONE.blob.id)

        voting = asyncio.ensure_future(court.vote(1, with_file()))
        await asyncio.sleep(0.02)
        assert not voting.done()
        assert court.reign.announced.untold(progress) == (Named(ONE.blob, oid(1)),)
        court.reign.announced.held(progress, [ONE.blob.id])
        court.reign.changed.notify()

        assert not (await voting).missing_blobs
        assert court.reign.named_blobs() == {ONE.blob.id}

    scene(story, ME, OTHER, minimum=2)


def test_a_follower_that_does_not_get_there_makes_the_vote_fail_as_one_to_repeat() -> None:
    async def story(court):
        await court.synced()
        court.reign.acknowledged(OTHER, 1)
        progress = follows(court)
        court.disk.blobs.held.add(ONE.blob.id)

        with pytest.raises(errors.VoteTimedOut, match="did not copy the 1 blobs"):
            await court.vote(1, with_file())

        assert court.reign.announced.untold(progress) == ()

    scene(story, ME, OTHER, minimum=2)


def test_a_follower_without_room_for_the_files_is_named_before_they_are_sent() -> None:
    async def story(court):
        await court.synced()
        court.reign.acknowledged(OTHER, 1)
        follows(court).headroom_bytes = 2**30
        court.disk.blobs.held.add(b"3" * 16)

        with pytest.raises(errors.NoSpace, match="node b"):
            await court.vote(1, with_file(named=Named(Blob(b"3" * 16, 2**30, bytes(16)), oid(1))))

    scene(story, ME, OTHER, minimum=2)


def test_a_conflict_that_is_resolved_is_voted_with_its_files_again() -> None:
    async def story(court):
        court.disk.blobs.held.add(ONE.blob.id)
        committed = await court.commit(1, store(1))
        voted = await court.vote(2, with_file())
        assert voted.conflicts

        court.reign.collect(name(2), 1, "s", [replace(with_file(), serial=committed)])
        assert not (await court.reign.vote(name(2), 1, "s", Ticket(), 1)).conflicts

        ballot = court.reign._votes.find(name(2), 1)
        assert ballot is not None and ballot.phase is Phase.VOTED

    scene(story)


def test_a_read_check_names_no_file() -> None:
    async def story(court):
        check = Wanted(oid(1), Intent.CHECK, TID_ZERO, blob=ONE.blob)

        assert not (await court.vote(1, check)).missing_blobs

    scene(story)
