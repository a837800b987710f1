"""Bodies that go ahead: what followers are sent of them, and whom a vote waits for."""

from __future__ import annotations

import asyncio

import pytest

from springtide import errors
from springtide.ahead import digested
from springtide.primary import bodies
from springtide.primary.bodies import Bodies
from springtide.primary.feed import Progress
from springtide.primary.votes import Phase, Ticket
from springtide.records import feed
from springtide.records.entries import Kind, following
from springtide.records.position import ORIGIN
from springtide.spool import FileSpool
from tests.unit.build import member
from tests.unit.primary.test_reign import ME, OTHER, Court, name, scene, store
from tests.unit.primary.test_spooled import COUNT, large, send


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(bodies, "PART_BYTES", 10)


def body(id: bytes, size: int = 25):
    file = FileSpool()
    file.write(bytes(range(size)))
    return digested(id, file, 0)


def sent(of: Bodies, to: object) -> list[object]:
    found = []
    while (message := of.next(to)) is not None:
        found.append(message if isinstance(message, feed.BodiesGone) else (message.id, len(message.data), message.last))
    return found


def test_each_follower_is_sent_each_body_once_in_parts(small_parts) -> None:
    table = Bodies()
    table.add(body(b"1"))
    table.begun("b")
    assert sent(table, "b") == [(b"1", 10, False), (b"1", 10, False), (b"1", 5, True)]
    table.add(body(b"2", 10))
    table.begun("c")

    assert sent(table, "b") == [(b"2", 10, True)]
    assert [part[0] for part in sent(table, "c")] == [b"1", b"1", b"1", b"2"]
    assert sent(table, "nobody") == []


def test_what_is_over_is_called_back_from_whom_it_was_sent_to_also_in_part(small_parts) -> None:
    table = Bodies()
    for follower in "bc":
        table.begun(follower)
    table.add(body(b"1"))
    table.next("b")
    table.held("b", [b"1"])
    table.drop(b"1")
    table.drop(b"never there")

    assert sent(table, "b") == [feed.BodiesGone((b"1",))]
    assert sent(table, "b") == sent(table, "c") == []
    assert table.known("b", [entry(b"1")]) == frozenset()


def entry(id: bytes):
    made = body(id)
    return following(ORIGIN, 1, Kind.TRANSACTION, made.bytes, made.rest, made)


def test_only_who_has_said_so_on_this_feed_has_a_body(small_parts) -> None:
    table, who = Bodies(), member("b")
    table.add(body(b"1"))
    table.begun("b")
    table.held("b", [b"1", b"never sent"])
    assert table.missing(b"1", {who: "b"}) == [who]
    sent(table, "b")
    assert table.known("b", [entry(b"1")]) == frozenset()
    table.held("b", [b"1"])

    assert table.missing(b"1", {who: "b"}) == []
    assert table.missing(b"1", {who: "b", OTHER: None}) == [OTHER]
    assert table.known("b", [entry(b"1"), entry(b"2")]) == {1}
    table.ended("b")
    table.begun("b")
    assert table.missing(b"1", {who: "b"}) == [who]


def two(story) -> None:
    scene(story, ME, OTHER, minimum=2)


def follows(court: Court) -> Progress:
    progress = court.reign.followers[OTHER] = Progress(OTHER, 1, asyncio.get_running_loop().time() + 100)
    progress.headroom_bytes = 2**40
    court.reign.bodies.begun(progress)
    return progress


async def voting(court: Court):
    await court.synced()
    court.reign.acknowledged(OTHER, 1)
    await send(court, 1, large())
    vote = asyncio.ensure_future(court.reign.vote(name(1), 1, "s", Ticket(), COUNT))
    while not court.reign.bodies._bodies:
        await asyncio.sleep(0.001)
    return vote


def test_a_vote_waits_until_the_in_sync_followers_have_its_body_and_its_entry_need_not_bring_it() -> None:
    async def story(court: Court) -> None:
        progress = follows(court)
        vote = await voting(court)
        (id,) = court.reign.bodies._bodies
        while court.reign.bodies.next(progress) is not None:
            assert not vote.done()
        court.reign.bodies.held(progress, [id])
        court.reign.changed.notify()
        assert not (await vote).conflicts
        court.finish(name(1))

        (made,) = court.disk.log[-1:]
        assert court.reign.bodies.known(progress, [made]) == {made.lsn}
        sent = progress.send((made,), 0, 0.0, frozenset((made.lsn,)))
        assert progress.room() > 0 and sent.known == {made.lsn}, "of the window it takes what is sent"
        await court.synced()
        court.reign.acknowledged(OTHER, made.lsn)
        assert court.reign.bodies.next(progress) == feed.BodiesGone((id,))

    two(story)


@pytest.mark.parametrize("how", ["too slow", "aborted"])
def test_a_body_that_is_not_taken_or_not_wanted_is_called_back(how: str, monkeypatch) -> None:
    monkeypatch.setattr("springtide.primary.voting.BYTES_PER_SECOND_MIN", 2**30)

    async def story(court: Court) -> None:
        progress = follows(court)
        vote = await voting(court)
        (id,) = court.reign.bodies._bodies
        court.reign.bodies.next(progress)
        if how == "aborted":
            court.reign.abort(name(1), 1)
        with pytest.raises(errors.BadRequest if how == "aborted" else errors.VoteTimedOut):
            await vote
        assert court.reign.bodies.next(progress) == feed.BodiesGone((id,))
        assert court.reign._votes.find(name(1), 1) is None
        assert not (await court.vote(2, store(1))).conflicts, "its locks are free"

    two(story)


def test_a_body_is_sent_while_its_locks_are_held() -> None:
    async def story(court: Court) -> None:
        follows(court)
        vote = await voting(court)
        ballot = court.reign._votes.find(name(1), 1)
        assert ballot is not None and ballot.phase is Phase.LOCKING
        court.reign.abort(name(1), 1)
        with pytest.raises(errors.BadRequest):
            await vote

    two(story)
