"""What arrives and is too much for memory goes to the disk before the next message is taken."""

from __future__ import annotations

import mmap
from types import SimpleNamespace

import pytest

from springtide import errors
from springtide.node.requests import Requests
from springtide.node.stores import Assembly
from springtide.primary.votes import Ticket
from springtide.records import entries
from springtide.records.ids import TransactionId, oid
from springtide.spool import SPOOLED_FROM
from springtide.wire import CHUNK_BYTES
from springtide.wire.v1 import records_pb2
from springtide.wire.v1 import session_pb2 as pb
from tests.unit.node.test_requests import Answers, nothing_to_forget
from tests.unit.primary.test_reign import name, scene

RECORD = bytes(range(256)) * ((SPOOLED_FROM + 5 * CHUNK_BYTES) // 256)
KEY = (TransactionId(bytes(24)), 1)


def parts(number: int, data: bytes) -> list[pb.Write]:
    return [
        pb.Write(
            oid=oid(number),
            kind=pb.Write.KIND_STORE,
            data=data[at : at + CHUNK_BYTES],
            more=at + CHUNK_BYTES < len(data),
        )
        for at in range(0, len(data), CHUNK_BYTES)
    ]


def test_a_record_that_arrives_in_many_parts_is_put_together_in_a_file():
    assembly = Assembly(2 * len(RECORD))
    spooled = 0
    found = []
    for part in parts(1, RECORD):
        found += assembly.add(KEY, [part])
        if assembly.overflows(KEY):
            assembly.spool(KEY)
            spooled += 1

    (wanted,) = found
    assert isinstance(wanted.data, memoryview) and isinstance(wanted.data.obj, mmap.mmap)
    assert wanted.data == RECORD and wanted.size == len(RECORD) and spooled
    assert not assembly.overflows(KEY)


async def sent(court, *writes: pb.Write) -> tuple[Requests, Answers, int]:
    """As a session reads: a message at a time, and to the disk what overflows."""
    answers = Answers()
    core = SimpleNamespace(disk=court.disk, reign=court.reign, not_primary=lambda: errors.NotPrimary("no"))
    requests, overflowed = Requests(core, "s", answers, 2 * len(RECORD), nothing_to_forget), 0
    for write in writes:
        stores = pb.Stores(transaction=name(1), attempt=1, writes=[write])
        requests.take(pb.ClientMessage(stores=stores))
        if requests.overflowing is not None:
            await requests.spool()
            overflowed += 1
    return requests, answers, overflowed


def test_what_a_session_sends_is_spooled_and_committed_as_it_was_sent():
    async def story(court):
        writes = [part for number in (1, 2) for part in parts(number, RECORD)]
        _, answers, overflowed = await sent(court, *writes)
        assert overflowed and answers.given == []
        assert court.reign._votes.held < SPOOLED_FROM

        assert not (await court.reign.vote(name(1), 1, "s", Ticket(), 2)).conflicts
        court.finish(name(1))
        transaction = entries.decode_transaction(court.disk.log[-1].body)
        assert [(write.oid, write.data == RECORD) for write in transaction.writes] == [(oid(1), True), (oid(2), True)]

    scene(story)


@pytest.mark.parametrize("room", [2**26, 2**26 + SPOOLED_FROM])
def test_a_full_disk_is_told_at_the_vote_and_nothing_of_the_transaction_is_left(room):
    async def story(court):
        court.disk.room = room
        writes = [part for number in (1, 2, 3) for part in parts(number, RECORD)]
        requests, answers, _ = await sent(court, *writes)
        assert answers.given == [], "stores are not answered"
        assert len(court.reign._votes) == 0

        requests.take(pb.ClientMessage(request=7, vote=pb.Vote(transaction=name(1), attempt=1, writes=3)))
        while not answers.given:
            await court.synced()
        ((request, body),) = answers.given
        assert (request, body["error"].code) == (7, records_pb2.CODE_NO_SPACE)
        assert "free space" in body["error"].message

    scene(story)
