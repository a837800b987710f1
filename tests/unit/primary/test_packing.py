"""What a pack appends, in which order, and what it does to votes meanwhile."""

from __future__ import annotations

import asyncio
import io
import pickle

import pytest

from springtide import errors
from springtide.primary.conflicts import Intent, Wanted
from springtide.primary.packing import nobody_knows, silent
from springtide.primary.votes import Ticket
from springtide.records.bitmap import Bitmap
from springtide.records.entries import Kind
from springtide.records.ids import TID_ZERO, TransactionId, oid
from springtide.records.packs import PackBegin, PackEnd, PackStep, decode_pack
from tests.unit.build import tid
from tests.unit.primary.test_reign import Court

GARBAGE = 7


def bits(*numbers):
    made = Bitmap()
    for n in numbers:
        made.add(n)
    return made


class FakeMarker:
    """Says what the test says, when the test says so."""

    def __init__(self, *steps):
        self.given = steps
        self.spared: list[list[int]] = []
        self.marked = asyncio.Event()
        self.settled = asyncio.Event()
        self.go_on = asyncio.Event()
        self.closed = False

    async def doomed(self):
        await self.marked.wait()
        return bits(GARBAGE)

    async def spare(self, oids):
        self.spared.append(list(oids))
        return bits()

    async def steps(self):
        self.settled.set()
        await self.go_on.wait()
        for step in self.given:
            if isinstance(step, Exception):
                raise step
            yield step

    async def close(self):
        self.closed = True


class PackingCourt(Court):
    """Its disk syncs by itself, and applies nothing: packs are looked at in the log."""

    def __init__(self, marker):
        super().__init__()
        self.marker = marker

        async def open_marker(begin, ask, report):
            return marker

        self.reign.packing._open_marker = open_marker

    async def syncing(self):
        while True:
            self.disk.sync()
            await asyncio.sleep(0)

    def said(self):
        return [decode_pack(entry.body) for entry in self.disk.log if entry.kind is Kind.PACK]


def record(*names: int) -> bytes:
    class Pickler(pickle._Pickler):
        def persistent_id(self, given):
            return given if isinstance(given, bytes) else None

    written = io.BytesIO()
    Pickler(written, 3).dump(("m", "C"))
    Pickler(written, 3).dump([oid(n) for n in names])
    return written.getvalue()


def store(name: int, *names: int, data_tid=None) -> Wanted:
    return Wanted(oid(name), Intent.STORE, TID_ZERO, record(*names), data_tid)


def began(number: int, last: int) -> TransactionId:
    return TransactionId(number.to_bytes(16, "big") + tid(last))


STEP = PackStep(((tid(1), (oid(1), oid(2))),))


def tell(story, *steps):
    async def whole():
        court = PackingCourt(FakeMarker(*steps))
        await court.established()
        court.disk.commit_tid = tid(5)
        syncing = asyncio.ensure_future(court.syncing())
        try:
            async with asyncio.timeout(10):
                await story(court, court.marker)
        finally:
            syncing.cancel()

    asyncio.run(whole())


async def vote(court, id, *wanted, spooled=False):
    court.reign.collect(id, 1, "s", wanted)
    if spooled:  # as a large one is while it comes
        await court.reign.spool(id, 1)
    return await court.reign.vote(id, 1, "s", Ticket(), len(wanted))


def pack(court, to=9, gc=True):
    return court.reign.packing.start(PackBegin(tid(to), gc), nobody_knows, silent)


async def settled(court, marker):
    marker.marked.set()
    await marker.settled.wait()


def test_a_pack_begins_when_there_is_something_to_take_away_and_ends_after_the_last_step():
    async def story(court, marker):
        marker.marked.set()
        marker.go_on.set()
        await pack(court)

        assert court.said() == [PackBegin(tid(5), True), STEP, PackEnd()]  # no later than what is committed
        assert marker.closed

    tell(story, STEP)


def test_where_nothing_goes_nothing_is_said():
    async def story(court, marker):
        marker.marked.set()
        marker.go_on.set()
        await pack(court)

        assert court.said() == []

    tell(story)


def test_to_pack_to_an_earlier_time_than_before_is_done_already():
    async def story(court, marker):
        court.disk.packed = tid(4)

        await pack(court, to=3)

        assert not marker.closed

    tell(story)


SPOOLED = pytest.mark.parametrize("spooled", [False, True])


@SPOOLED
def test_what_is_voted_while_it_is_found_out_what_goes_is_spared(spooled):
    async def story(court, marker):
        work = pack(court)
        await asyncio.sleep(0.01)
        await vote(court, began(1, 5), store(1, GARBAGE), spooled=spooled)
        await settled(court, marker)
        marker.go_on.set()
        await work

        assert marker.spared == [[GARBAGE]]

    tell(story)


@SPOOLED
def test_what_was_voted_before_is_spared_too(spooled):
    async def story(court, marker):
        await vote(court, began(1, 5), store(1, GARBAGE), spooled=spooled)
        work = pack(court)
        await settled(court, marker)
        marker.go_on.set()
        await work

        assert marker.spared == [[GARBAGE]]

    tell(story)


@SPOOLED
def test_once_it_is_settled_what_goes_a_vote_that_refers_to_it_is_refused(spooled):
    async def story(court, marker):
        court.disk.serials[oid(GARBAGE)] = tid(2)
        work = pack(court)
        await settled(court, marker)
        with pytest.raises(errors.Collected, match=oid(GARBAGE).hex()):
            await vote(court, began(1, 5), store(1, GARBAGE), spooled=spooled)

        await vote(court, began(2, 5), store(1, 2), spooled=spooled)
        court.disk.serials.clear()
        await vote(court, began(3, 5), store(3, GARBAGE), store(GARBAGE), spooled=spooled)  # it stores the object anew
        court.disk.serials[oid(GARBAGE)] = tid(8)
        await vote(court, began(4, 5), store(4, GARBAGE), spooled=spooled)  # somebody has stored it anew
        marker.go_on.set()
        await work

    tell(story)


def test_without_garbage_collection_no_vote_is_refused():
    async def story(court, marker):
        work = pack(court, gc=False)
        await settled(court, marker)
        await vote(court, began(1, 5), store(1, GARBAGE))
        marker.go_on.set()
        await work

    tell(story)


@SPOOLED
def test_a_revision_that_is_repeated_meanwhile_stays(spooled):
    async def story(court, marker):
        work = pack(court)
        await settled(court, marker)
        await vote(court, began(1, 5), Wanted(oid(1), Intent.RESTORE, TID_ZERO, record(), tid(1)), spooled=spooled)
        marker.go_on.set()
        await work

        assert court.said()[1] == PackStep(((tid(1), (oid(2),)),))

    tell(story, STEP)


@SPOOLED
def test_a_vote_of_which_it_cannot_be_known_what_it_refers_to_ends_the_pack(spooled):
    async def story(court, marker):
        work = pack(court)
        await asyncio.sleep(0.01)
        await vote(court, began(1, 5), Wanted(oid(1), Intent.STORE, TID_ZERO, b"encrypted"), spooled=spooled)
        marker.marked.set()
        with pytest.raises(errors.PackRefused, match="cannot be known"):
            await work

        assert court.said() == []

    tell(story, STEP)


@SPOOLED
def test_a_transaction_that_began_before_the_pack_must_not_refer_to_what_went(spooled):
    async def story(court, marker):
        court.disk.packed = tid(4)
        with pytest.raises(errors.Collected):
            await vote(court, began(1, 3), store(1, GARBAGE), spooled=spooled)

        await vote(court, began(2, 4), store(2, GARBAGE), spooled=spooled)
        await vote(court, began(3, 3), store(3, 4), store(4), spooled=spooled)

    tell(story)


def test_a_pack_that_fails_half_way_ends_there():
    async def story(court, marker):
        marker.marked.set()
        marker.go_on.set()
        with pytest.raises(errors.PackRefused):
            await pack(court)

        assert court.said() == [PackBegin(tid(5), True), STEP, PackEnd()]

    tell(story, STEP, errors.PackRefused("the process ended"))


def test_what_a_former_primary_began_is_ended_first():
    async def story(court, marker):
        court.disk.packed, court.disk.packing = tid(3), PackBegin(tid(3), False)
        marker.marked.set()
        marker.go_on.set()
        await court.reign.packing.resume()

        assert court.said() == [STEP, PackEnd()]

    tell(story, STEP)


def test_a_pack_ends_with_its_reign_and_says_nothing_more():
    async def story(court, marker):
        work = pack(court)
        await settled(court, marker)
        court.reign.end("it must")
        await court.reign.packing.end()

        assert work.cancelled()
        assert marker.closed
        assert court.said() == []

    tell(story, STEP)
