"""Records and lists that are too long for one message."""

from __future__ import annotations

from springtide.client.messages import CHUNK_BYTES, Parts, voting
from springtide.client.transaction import Begun, Buffer, Kind, Metadata, Write, make_id
from springtide.records.ids import oid
from springtide.wire.v1 import session_pb2 as wire
from tests.unit.build import tid

BEGUN = Begun(make_id(bytes(16), tid(1)), Metadata(), Buffer(), attempt=3)


def sent(*writes):
    messages = list(voting(BEGUN, writes))
    assert all(message.ByteSize() < 1024 * 1024 for message in messages)
    assert [message.WhichOneof("body") for message in messages] == ["stores"] * (len(messages) - 1) + ["vote"]
    return [message.stores.writes for message in messages[:-1]] + [messages[-1].vote.stores]


def test_small_writes_travel_with_the_vote():
    (writes,) = sent(*(Write(oid(n), tid(1), Kind.STORE, b"x") for n in range(1000)))
    assert [write.oid for write in writes] == [oid(n) for n in range(1000)]


def test_a_vote_and_its_stores_name_the_attempt():
    large = bytes(CHUNK_BYTES) + b"end"
    stores, vote = voting(BEGUN, [Write(oid(1), tid(1), Kind.STORE, large)])
    assert (stores.stores.transaction, stores.stores.attempt) == (BEGUN.id, 3)
    assert (vote.vote.transaction, vote.vote.attempt) == (BEGUN.id, 3)


def test_a_large_record_travels_in_parts_that_only_the_last_ends():
    data = bytes(CHUNK_BYTES) * 2 + b"end"
    writes = [write for part in sent(Write(oid(1), tid(1), Kind.STORE, data)) for write in part]

    assert b"".join(write.data for write in writes) == data
    assert [write.more for write in writes] == [True, True, False]


def test_a_restored_absence_is_not_an_empty_record():
    absent, empty = Write(oid(1), tid(1), Kind.RESTORE, None), Write(oid(2), tid(1), Kind.RESTORE, b"")
    (writes,) = sent(absent, empty)
    assert [write.absent for write in writes] == [True, False]


def test_answers_in_parts_are_put_together_per_request():
    parts = Parts()
    head = wire.Loaded(oid=oid(1), result=wire.Loaded.RESULT_FOUND, data=b"a", tid=tid(2), as_of=tid(9), more=True)

    assert parts.loaded(1, head) is None
    other = parts.loaded(2, wire.Loaded(oid=oid(2), data=b"z", as_of=tid(9)))
    assert parts.loaded(1, wire.Loaded(oid=oid(1), data=b"b", more=True)) is None
    whole = parts.loaded(1, wire.Loaded(oid=oid(1), data=b"c"))

    assert other is not None and other.data == b"z"
    assert whole is not None and (whole.data, whole.tid, whole.next_tid, whole.as_of) == (b"abc", tid(2), None, tid(9))


def test_invalidations_in_parts_are_one_change():
    parts = Parts()
    assert parts.invalidation(wire.Invalidation(tid=tid(5), oids=[oid(1)], more=True)) is None
    assert parts.invalidation(wire.Invalidation(tid=tid(5), oids=[oid(2)])) == (tid(5), (oid(1), oid(2)))
