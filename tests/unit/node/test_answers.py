from types import SimpleNamespace

import pytest

from springtide.client.messages import Parts
from springtide.engine import Loaded, Result
from springtide.node.answers import invalidations, loaded, missed, missed_purges, none_without_its_purge, purged, voted
from springtide.primary.conflicts import Conflict, Intent
from springtide.primary.voting import Voted
from springtide.records.ids import TID_ZERO, oid
from springtide.wire import CHUNK_BYTES, MESSAGE_BYTES_MAX
from springtide.wire.v1 import session_pb2 as pb
from tests.unit.build import tid


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_a_record_travels_in_as_many_parts_as_it_takes(size):
    data = bytes(size)

    parts = list(loaded(oid(1), Loaded(Result.FOUND, data, tid(3), tid(5), tid(9))))

    assert b"".join(part.data for part in parts) == data
    assert [part.more for part in parts] == [True] * (len(parts) - 1) + [False]
    assert (parts[0].tid, parts[0].next_tid, parts[0].as_of) == (tid(3), tid(5), tid(9))
    assert all(part.ByteSize() < MESSAGE_BYTES_MAX for part in parts)


@pytest.mark.parametrize(
    ("result", "wire"),
    [
        (Result.NOT_YET, pb.Loaded.RESULT_NOT_YET),
        (Result.UNKNOWN, pb.Loaded.RESULT_UNKNOWN),
        (Result.DELETED, pb.Loaded.RESULT_DELETED),
    ],
)
def test_what_is_not_there_is_told_apart(result, wire):
    (answer,) = loaded(oid(1), Loaded(result, b"", TID_ZERO, None, tid(9)))

    assert (answer.result, answer.next_tid, answer.as_of) == (wire, b"", tid(9))


@pytest.mark.parametrize("count", [0, 1, 200_000])
def test_every_oid_of_a_transaction_is_named_whatever_their_number(count):
    oids = [oid(number) for number in range(count)]

    messages = invalidations(tid(3), oids)

    assert [name for message in messages for name in message.invalidation.oids] == oids
    assert [message.invalidation.more for message in messages] == [True] * (len(messages) - 1) + [False]
    assert all(message.ByteSize() < MESSAGE_BYTES_MAX for message in messages)


def test_small_committed_records_travel_with_their_conflicts_and_large_ones_do_not():
    records = {oid(1): b"small", oid(2): bytes(2**20)}
    disk = SimpleNamespace(load_serial=lambda name, serial: Loaded(Result.FOUND, records[name], serial, None, tid(9)))
    found = [Conflict(name, tid(1), tid(5), Intent.STORE) for name in records]
    found.append(Conflict(oid(3), tid(1), None, Intent.CHECK))

    answer = voted(Voted(4, tuple(found)), disk)

    assert [(c.oid, c.committed, c.data, c.read_check) for c in answer.conflicts] == [
        (oid(1), tid(5), b"small", False),
        (oid(2), tid(5), b"", False),
        (oid(3), b"", b"", True),
    ]


def test_what_was_missed_comes_in_few_messages_made_as_they_are_taken():
    changes = [(tid(n), [oid(n), oid(n + 1)]) for n in range(1, 100_001)]
    changes[500] = (tid(501), [oid(n) for n in range(200_000)])
    changes[501] = (tid(502), [])
    looked_at = []
    messages = missed(looked_at.append(change[0]) or change for change in changes)

    first = next(messages)
    assert len(looked_at) < 30_000
    parts, heard = Parts(), []
    for message in (first, *messages):
        assert message.ByteSize() < MESSAGE_BYTES_MAX
        heard += filter(None, map(parts.invalidation, message.invalidations.each))

    assert heard == [(at, tuple(oids)) for at, oids in changes]


@pytest.mark.parametrize("superseded", [None, tid(5)])
@pytest.mark.parametrize("count", [0, 1, 65_536, 200_000])
def test_what_a_pack_took_away_comes_in_as_many_messages_as_it_takes(count, superseded):
    gone = [oid(n) for n in range(count)]

    messages = purged(7, gone, superseded)
    parts = Parts()
    heard = [parts.purged(message.purged) for message in messages]

    assert heard[-1] == (7, tuple(gone), superseded or TID_ZERO) and not any(heard[:-1])
    assert all(message.ByteSize() < MESSAGE_BYTES_MAX for message in messages)


def test_missed_packs_are_told_in_few_messages_through_the_last_one():
    gone = [(n, tuple(oid(n * 100 + i) for i in range(100))) for n in range(3, 1_003)]
    parts = Parts()

    heard = [parts.purged(message.purged) for message in missed_purges(iter(gone), 2, 1_010, tid(5))]

    told = [each for each in heard if each is not None]
    assert len(heard) < 10 and [purged.packs for purged in told] == sorted(purged.packs for purged in told)
    assert [name for purged in told for name in purged.oids] == [name for _, names in gone for name in names]
    assert (told[-1].packs, told[-1].superseded) == (1_010, tid(5))


def test_who_missed_no_pack_is_told_none_and_who_missed_one_that_left_all_objects_is_told_that():
    assert list(missed_purges(iter(()), 7, 7, tid(5))) == []
    ((message),) = missed_purges(iter(()), 7, 9, tid(5))
    assert (message.purged.packs, list(message.purged.oids), message.purged.superseded) == (9, [], tid(5))


def test_what_a_pack_takes_away_while_changes_are_told_is_told_before_those_it_is_lacking_in():
    gone = []

    def changes():
        yield tid(1), [oid(1)]
        gone.append((8, (oid(2),)))
        yield tid(2), [oid(n) for n in range(3, 3 + CHUNK_BYTES // 16)]  # oid(2) had changed, too
        yield tid(3), [oid(4)]

    told = list(none_without_its_purge(missed(changes()), lambda packs: [each for each in gone if each[0] > packs], 7))

    parts = Parts()
    purges = [parts.purged(message.purged) for message in told if message.WhichOneof("body") == "purged"]
    assert [(each.packs, each.oids, each.superseded) for each in purges] == [(8, (oid(2),), TID_ZERO)]
    assert told[0].WhichOneof("body") == "purged" and len(told) > 2
