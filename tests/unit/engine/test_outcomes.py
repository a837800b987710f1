"""What is remembered of committed transactions by their ids, and how it is forgotten."""

from __future__ import annotations

import asyncio

import pytest

from springtide.records import entries
from springtide.records.entries import Entry, Kind, Malformed
from springtide.records.forget import Forget, decode_forget, encode_forget
from springtide.records.ids import TID_ZERO, tid
from springtide.records.packs import PackBegin, PackEnd, PackStep
from springtide.records.position import Point
from tests.unit.engine.disk import commit, id_of, log, oids, opened, tell
from tests.unit.engine.test_packs import packs, rows
from tests.unit.engine.test_snapshots import copy

SIX = log(*[{number: b"x"} for number in range(1, 7)])
LAST = SIX[-1].point


def forget(after: int, before: int, follows: Point = LAST) -> Entry:
    return entries.following(follows, 1, Kind.FORGET, encode_forget(Forget(tid(after), tid(before))))


def remembered(engine) -> list[int]:
    return [number for number in range(1, 7) if engine.outcome(id_of(number)) is not None]


def test_the_ids_of_the_transactions_that_an_entry_names_are_forgotten(tmp_path):
    async def story(engine):
        await commit(engine, [*SIX, forget(0, 4)])

        assert remembered(engine) == [4, 5, 6]
        assert engine.forgotten == tid(4)
        assert len(list(engine.transactions())) == 6

    tell(tmp_path, story)
    tell(tmp_path, still_forgotten)


async def still_forgotten(engine):
    assert (remembered(engine), engine.forgotten) == ([4, 5, 6], tid(4))


def test_what_may_be_gone_is_said_before_it_goes(tmp_path):
    async def story(engine):
        await commit(engine, SIX)
        await engine.append([forget(0, 4)])
        assert engine.forgotten == TID_ZERO

        engine.commit(7)

        assert engine.forgotten == tid(4)

    tell(tmp_path, story)


def test_steps_are_bounded_and_end(tmp_path):
    async def story(engine):
        await commit(engine, SIX)
        assert await engine.forgettable(tid(6), 2) == Forget(TID_ZERO, tid(3))
        await commit(engine, [forget(0, 3)])
        assert await engine.forgettable(tid(6), 3) == Forget(tid(3), tid(6))
        assert await engine.forgettable(tid(3), 3) is None

    tell(tmp_path, story)


def test_an_id_is_remembered_and_forgotten_where_a_pack_took_its_transaction_away(tmp_path):
    step = PackStep(((tid(1), oids(1)), (tid(2), oids(2))))

    async def story(engine):
        packed = packs(PackBegin(tid(3), True), step, PackEnd(), after=LAST)
        await commit(engine, [*SIX, *packed])
        assert remembered(engine) == [1, 2, 3, 4, 5, 6]
        assert await engine.forgettable(tid(3), 1) == Forget(TID_ZERO, tid(2))

        await commit(engine, [forget(0, 3, packed[-1].point)])

        assert remembered(engine) == [3, 4, 5, 6]
        assert len(rows(engine)["commits"]) == 4

    tell(tmp_path, story)


def test_a_copy_forgets_alike(tmp_path):
    async def story():
        async with opened(tmp_path / "a") as source, opened(tmp_path / "b", node="b") as receiver:
            packed = packs(PackBegin(tid(3), True), PackStep(((tid(1), oids(1)),)), PackEnd(), after=LAST)
            await commit(source, [*SIX, *packed, forget(0, 2, packed[-1].point)])

            await copy(source, receiver)

            assert rows(receiver)["commits"] == rows(source)["commits"]
            assert receiver.forgotten == tid(2)
            assert receiver.state.meta.forgotten == tid(2)

    asyncio.run(story())


@pytest.mark.parametrize("body", [b"", b"short", tid(4) + tid(4), tid(5) + tid(4)])
def test_bytes_that_forget_nothing_are_malformed(body):
    with pytest.raises(Malformed):
        decode_forget(body)
