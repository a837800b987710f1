import pytest

from springtide.errors import BadRequest
from springtide.records import feed
from springtide.records.blobs import Named
from springtide.records.entries import Blob, Entry, Kind, continues, following, rest_digest
from springtide.records.ids import oid
from springtide.records.position import ORIGIN, Point
from springtide.spool import SPOOLED_FROM, FileSpool
from springtide.wire import CHUNK_BYTES, MESSAGE_BYTES_MAX, convert
from springtide.wire.v1 import records_pb2, replication_pb2
from tests.unit.build import member, tid

POINT = Point(3, 9, b"d" * 16)
BLOB = Blob(b"i" * 16, 2**40, b"d" * 16)


def entry(lsn: int, size: int) -> Entry:
    return Entry(3, lsn, Kind.TRANSACTION, b"d" * 16, bytes([lsn]) * size)


@pytest.mark.parametrize(
    "message",
    [
        feed.Hello(member("b"), "up", "cluster", 4, POINT, electable=False),
        feed.Probe(POINT),
        feed.Copy(POINT),
        feed.Ack(9, 8, 1000, reads=False),
        feed.Confirm(5),
        feed.Held((b"i" * 16, b"j" * 16)),
    ],
)
def test_what_a_follower_says_arrives(message):
    wire = convert.upward_to_wire(message).SerializeToString()

    assert convert.upward_from_wire(replication_pb2.FollowerMessage.FromString(wire)) == message


@pytest.mark.parametrize(
    "message",
    [
        feed.Welcome(3, "a", "up", "history", POINT, Point(0, 0, bytes(16))),
        feed.Refused("not the primary", 4),
        feed.Found(),
        feed.Missing(),
        feed.TooOld(POINT),
        feed.Heartbeat(7, 9),
        feed.Append((entry(1, 10), entry(2, 0)), 1),
        feed.Blobs((Named(BLOB, oid(1)), Named(BLOB, oid(2), tid(3), tid(2)))),
    ],
)
def test_what_a_primary_says_arrives(message):
    (wire,) = convert.downward_to_wire(message)
    sent = replication_pb2.PrimaryMessage.FromString(wire.SerializeToString())

    assert convert.DownwardReader().take(sent) == message


@pytest.mark.parametrize(
    "sizes",
    [
        [CHUNK_BYTES],
        [CHUNK_BYTES + 1],
        [5 * CHUNK_BYTES + 17, 3],
        [3, 2 * CHUNK_BYTES, 0, CHUNK_BYTES - 1, 1],
        [100] * 30_000,
    ],
)
def test_entries_larger_than_a_message_travel_in_several(sizes):
    entries = tuple(entry(number % 200, size) for number, size in enumerate(sizes))
    reader, arrived = convert.DownwardReader(), []

    for part in convert.downward_to_wire(feed.Append(entries, 1)):
        assert part.ByteSize() <= MESSAGE_BYTES_MAX
        whole = reader.take(part)
        if isinstance(whole, feed.Append):
            arrived += whole.entries
        else:
            assert whole == feed.Part()

    assert tuple(arrived) == entries


def test_an_entry_of_a_later_version_is_refused_and_the_refusal_says_what_to_do():
    message = replication_pb2.PrimaryMessage(
        append=replication_pb2.FeedAppend(entries=[records_pb2.Entry(epoch=1, lsn=1, kind=99)])
    )

    with pytest.raises(BadRequest, match="upgrade this node"):
        convert.DownwardReader().take(message)


def test_an_entry_too_large_for_memory_arrives_as_a_view_of_a_file_with_its_digest():
    body = bytes(range(256)) * (SPOOLED_FROM // 256 + 5_000)
    sent = following(ORIGIN, 3, Kind.TRANSACTION, body)
    after = following(sent.point, 3, Kind.TRANSACTION, b"small")
    reader, arrived, slow = convert.DownwardReader(), [], 0

    for part in convert.downward_to_wire(feed.Append((sent, after), 1)):
        slow += reader.takes_time(part)
        message = reader.take(part)
        arrived += message.entries if isinstance(message, feed.Append) else ()

    large, small = arrived
    assert isinstance(large.body, memoryview) and isinstance(small.body, bytes) and slow
    assert (large, small) == (sent, after)
    assert large.rest == rest_digest(body)
    assert continues(ORIGIN, large) and continues(large.point, small)


def test_a_mapped_body_is_sent_as_one_in_memory_is():
    spool = FileSpool()
    spool.write(bytes(3 * CHUNK_BYTES + 5))
    mapped = following(ORIGIN, 3, Kind.TRANSACTION, spool.view())

    plain = following(ORIGIN, 3, Kind.TRANSACTION, bytes(3 * CHUNK_BYTES + 5))

    assert list(convert.downward_to_wire(feed.Append((mapped,), 1))) == list(
        convert.downward_to_wire(feed.Append((plain,), 1))
    )


@pytest.mark.parametrize("spoil", [{"id": b"short"}, {"digest": b""}, {"oid": b"1"}, {"tid": b"1"}, {"data_tid": b"1"}])
def test_the_name_of_a_file_is_whole_or_refused(spoil):
    name = convert.name_to_wire(Named(BLOB, oid(1), tid(2)))
    for field, value in spoil.items():
        setattr(name, field, value)

    with pytest.raises(BadRequest):
        convert.name_from_wire(name)


def test_more_files_than_one_message_names_are_announced_in_several():
    names = tuple(Named(BLOB, oid(n)) for n in range(convert.NAMES_MAX + 1))

    messages = [convert.DownwardReader().take(wire) for wire in convert.downward_to_wire(feed.Blobs(names))]

    assert [len(message.names) for message in messages] == [convert.NAMES_MAX, 1]
