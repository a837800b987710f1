"""Records and lists that are too long for one message."""

from __future__ import annotations

from springtide.client.messages import CHUNK_BYTES, Parts, stores
from springtide.client.transaction import Begun, Buffer, Kind, Metadata, Write, make_id
from springtide.records.ids import oid
from springtide.wire.v1 import session_pb2 as wire
from tests.unit.build import tid

BEGUN = Begun(make_id(bytes(16), tid(1)), Metadata(), Buffer(), attempt=3)


def sent(*writes):
    messages = list(stores(BEGUN, writes))
    assert all(message.ByteSize() < 1024 * 1024 for message in messages)
    return messages


def test_small_writes_share_a_message():
    (message,) = sent(*(Write(oid(n), tid(1), Kind.STORE, b"x") for n in range(1000)))
    assert (message.stores.transaction, message.stores.attempt) == (BEGUN.id, 3)
    assert [write.oid for write in message.stores.writes] == [oid(n) for n in range(1000)]


def test_a_large_record_travels_in_parts_that_only_the_last_ends():
    data = bytes(CHUNK_BYTES) * 2 + b"end"
    writes = [write for message in sent(Write(oid(1), tid(1), Kind.STORE, data)) for write in message.stores.writes]

    assert b"".join(write.data for write in writes) == data
    assert [write.more for write in writes] == [True, True, False]


def test_a_restored_absence_is_not_an_empty_record():
    absent, empty = Write(oid(1), tid(1), Kind.RESTORE, None), Write(oid(2), tid(1), Kind.RESTORE, b"")
    (message,) = sent(absent, empty)
    assert [write.absent for write in message.stores.writes] == [True, False]


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
