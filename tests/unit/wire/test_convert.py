import pytest

from springtide.errors import BadRequest
from springtide.records import feed
from springtide.records.entries import Entry, Kind
from springtide.records.position import Point
from springtide.wire import CHUNK_BYTES, MESSAGE_BYTES_MAX, convert
from springtide.wire.v1 import records_pb2, replication_pb2
from tests.unit.build import member

POINT = Point(3, 9, b"d" * 16)


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
