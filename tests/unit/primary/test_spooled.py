"""A large transaction goes to a file as it comes, and its entry is the one that it would be in memory."""

from __future__ import annotations

import asyncio
import gc
import mmap
import weakref
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide import errors
from springtide.primary.conflicts import Intent, Wanted
from springtide.primary.spooled import Spooled
from springtide.primary.votes import Ballot, Ticket
from springtide.records import digests, entries
from springtide.records.entries import Kind
from springtide.records.ids import TID_ZERO, TransactionId, number, oid
from springtide.spool import SPOOLED_FROM, FileSpool
from tests.unit.build import tid
from tests.unit.primary.test_reign import name, scene, store

ID = TransactionId(bytes(24))
wants = st.builds(
    Wanted,
    st.integers(0, 9).map(oid),
    st.sampled_from([Intent.STORE, Intent.DELETE, Intent.RESTORE, Intent.CHECK]),
    st.just(TID_ZERO),
    st.none() | st.binary(max_size=30),
    st.none() | st.integers(0, 9).map(tid),
    st.none() | st.just(oid(7)),
    st.none() | st.builds(entries.Blob, st.just(b"i" * 16), st.integers(0, 2**64 - 1), st.just(b"d" * 16)),
)
tickets = st.builds(Ticket, st.binary(max_size=9), st.binary(max_size=9), st.binary(max_size=9))


def make(begin: int) -> FileSpool:
    return FileSpool(begin=begin)


@given(st.lists(st.lists(wants, max_size=9), min_size=1, max_size=4), tickets)
def test_the_body_is_byte_for_byte_the_one_encoded_in_memory(batches, ticket):
    plain, large = Ballot(ID, 1, "s", ticket=ticket), Ballot(ID, 1, "s", ticket=ticket)
    file = Spooled(make)
    for batch in batches:
        for want in batch:
            plain.put(want)
            large.put(want)
        file.add(large.move(file))
        assert (large.held, large.size) == (0, plain.size)
    count = sum(want.intent is not Intent.CHECK for want in large.wanted.values())
    file.seal(b"id", large.about(TID_ZERO), count, len(large.files()))
    ahead = file.whole(tid(77))

    expected = plain.transaction(tid(77))
    assert bytes(ahead.bytes) == entries.encode_transaction(expected)
    assert ahead.rest == digests.rest_digest(ahead.bytes)
    assert ahead.crc_after(7) == zlib.crc32(ahead.bytes, 7)
    assert [*file.writes()] == [*expected.writes]
    assert list(plain.wanted) == list(large.wanted) and plain.locks() == large.locks()
    assert file.highest >= max([number(write.oid) for write in expected.writes], default=0)


RECORD = bytes(range(256)) * 4096


COUNT = SPOOLED_FROM // len(RECORD) + 1


def large():
    return [store(n, data=RECORD) for n in range(1, COUNT + 1)]


async def send(court, id, wanted, attempt=1, step=3):
    """As a session does it: collect, and spool when it is time to."""
    for at in range(0, len(wanted), step):
        court.reign.collect(name(id), attempt, "s", wanted[at : at + step])
        if court.reign.overflows(name(id), attempt):
            await court.reign.spool(name(id), attempt)


def test_a_large_transaction_is_spooled_and_its_entry_equals_that_of_one_in_memory():
    async def story(court):
        wanted = [*large(), Wanted(oid(99), Intent.CHECK, TID_ZERO)]
        await send(court, 1, wanted)
        assert court.reign._votes.held < SPOOLED_FROM
        voted = await court.reign.vote(name(1), 1, "s", Ticket(b"u", b"d", b"e"), len(wanted))
        assert not voted.conflicts
        court.finish(name(1))

        entry = court.disk.log[-1]
        assert isinstance(entry.body, memoryview) and isinstance(entry.body.obj, mmap.mmap)
        found = entries.decode_transaction(entry.body)
        assert [w.data for w in found.writes] == [RECORD] * COUNT and found.user == b"u"
        same = entries.following(court.disk.log[-2].point, 3, Kind.TRANSACTION, entries.encode_transaction(found))
        assert same == entry and entries.continues(court.disk.log[-2].point, entry)
        await court.synced()
        assert court.disk.outcomes[name(1)] == found.tid
        assert (court.reign._votes.held, court.reign._votes.size) == (0, 0)
        oids = asyncio.ensure_future(court.reign.oids(1))
        await asyncio.sleep(0)
        await court.synced()
        assert (await oids).first == COUNT + 1

    scene(story)


def test_what_is_resolved_replaces_what_was_spooled_and_others_are_as_they_were():
    async def story(court):
        first = await court.commit(1, store(2, data=b"theirs"))
        wanted = large()
        await send(court, 2, wanted)
        voted = await court.reign.vote(name(2), 1, "s", Ticket(), len(wanted))
        assert [(c.oid, c.committed) for c in voted.conflicts] == [(oid(2), first)]

        court.reign.collect(name(2), 1, "s", [store(2, first, b"resolved")])
        assert not (await court.reign.vote(name(2), 1, "s", Ticket(), len(wanted))).conflicts
        court.finish(name(2))

        found = entries.decode_transaction(court.disk.log[-1].body)
        assert [(w.oid, w.data) for w in found.writes] == [
            (want.oid, b"resolved" if want.oid == oid(2) else RECORD) for want in wanted
        ]

    scene(story)


def test_a_large_transaction_keeps_the_tid_that_its_client_gave():
    async def story(court):
        wanted = large()
        await send(court, 1, wanted)
        await court.reign.vote(name(1), 1, "s", Ticket(tid=tid(2**62)), len(wanted))
        court.finish(name(1))

        assert entries.decode_head(court.disk.log[-1].body)[0].tid == tid(2**62)

    scene(story)


def test_others_commit_while_a_large_transaction_is_collected_and_voted():
    async def story(court):
        wanted = large()
        await send(court, 1, wanted)
        await court.commit(2, store(1_000))
        await court.reign.vote(name(1), 1, "s", Ticket(), len(wanted))
        await court.commit(3, store(1_001))
        court.finish(name(1))
        await court.synced()

        assert court.disk.outcomes[name(3)] < court.disk.outcomes[name(1)]

    scene(story)


def test_a_full_disk_gives_up_the_transaction_and_what_it_took_and_the_next_one_works():
    async def story(court):
        court.disk.room = 2**26 + SPOOLED_FROM // 2

        with pytest.raises(errors.NoSpace, match="disk of node a"):
            await send(court, 1, large())
        assert (court.reign._votes.held, court.reign._votes.size, len(court.reign._votes)) == (0, 0, 0)
        await court.commit(2, store(1))

    scene(story)


def test_one_that_is_given_up_while_it_is_written_is_refused_and_its_locks_are_free():
    async def story(court):
        court.reign.collect(name(1), 1, "s", large())
        writing = asyncio.ensure_future(court.reign.spool(name(1), 1))
        await asyncio.sleep(0)
        court.reign.session_ended("s")

        with pytest.raises(errors.BadRequest, match="given up"):
            await writing
        await court.commit(2, store(1))

    scene(story)


def test_a_reign_that_ends_during_the_vote_of_a_large_transaction_says_so():
    async def story(court):
        wanted = large()
        await send(court, 1, wanted)
        vote = asyncio.ensure_future(court.reign.vote(name(1), 1, "s", Ticket(), len(wanted)))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        court.reign.end("over")

        with pytest.raises(errors.NotPrimary):
            await vote

    scene(story)


def test_the_file_of_a_transaction_goes_with_it():
    async def story(court):
        await send(court, 1, large())
        ballot = court.reign._votes.find(name(1), 1)
        gone = []
        weakref.finalize(ballot.file._spool, gone.append, True)
        del ballot
        court.reign.abort(name(1), 1)
        gc.collect()

        assert gone == [True]

    scene(story)
