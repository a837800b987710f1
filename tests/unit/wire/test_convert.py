import pytest

from springtide.ahead import digested
from springtide.errors import BadRequest, Unreachable
from springtide.records import feed
from springtide.records.blobs import Named
from springtide.records.digests import rest_digest
from springtide.records.entries import Blob, Entry, Kind, continues, following
from springtide.records.ids import oid
from springtide.records.position import ORIGIN, Point
from springtide.spool import SPOOLED_FROM, FileSpool
from springtide.wire import CHUNK_BYTES, MESSAGE_BYTES_MAX, convert
from springtide.wire.reading import DownwardReader
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

    assert DownwardReader().take(sent) == message


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
    reader, arrived = DownwardReader(), []

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
        DownwardReader().take(message)


def test_an_entry_too_large_for_memory_arrives_as_a_view_of_a_file_with_its_digest():
    body = bytes(range(256)) * (SPOOLED_FROM // 256 + 5_000)
    sent = following(ORIGIN, 3, Kind.TRANSACTION, body)
    after = following(sent.point, 3, Kind.TRANSACTION, b"small")
    reader, arrived, slow = DownwardReader(), [], 0

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

    messages = [DownwardReader().take(wire) for wire in convert.downward_to_wire(feed.Blobs(names))]

    assert [len(message.names) for message in messages] == [convert.NAMES_MAX, 1]


def ahead_of(body: bytes, id: bytes) -> Entry:
    file = FileSpool()
    file.write(body)
    ahead = digested(id, file, 0)
    return following(ORIGIN, 3, Kind.TRANSACTION, ahead.bytes, ahead.rest, ahead)


def taken(reader: DownwardReader, message: feed.Downward) -> list[feed.Downward]:
    return [reader.take(part) for part in convert.downward_to_wire(message)]


BODY = bytes(range(256)) * 5_000


def arrived(reader: DownwardReader, id: bytes, body: bytes = BODY) -> list[feed.Downward]:
    half = len(body) // 2
    first = taken(reader, feed.BodyPart(id, bytes(8) + body[8:half], last=False))
    return first + taken(reader, feed.BodyPart(id, body[half:], last=True))


def test_an_entry_whose_body_came_ahead_brings_what_was_left_open():
    reader, sent = DownwardReader(), ahead_of(BODY, b"id")
    first, second = arrived(reader, b"id")
    assert first == feed.Part() and isinstance(second, feed.Arrived) and second.body.id == b"id"
    (message,) = convert.downward_to_wire(feed.Append((sent,), 1, frozenset((sent.lsn,))))
    assert message.ByteSize() < 200

    (append,) = [reader.take(message)]

    (entry,) = append.entries
    assert entry == sent and entry.ahead is second.body
    assert continues(ORIGIN, entry)


@pytest.mark.parametrize("why", ["never came", "gone", "used", "another stream", "half of it came"])
def test_an_entry_whose_body_is_not_here_ends_the_stream_so_that_it_comes_whole(why):
    reader, sent = DownwardReader(), ahead_of(BODY, b"id")
    short = feed.Append((sent,), 1, frozenset((sent.lsn,)))
    match why:
        case "gone":
            arrived(reader, b"id")
            assert taken(reader, feed.BodiesGone((b"id", b"unknown"))) == [feed.Part()]
        case "used":
            arrived(reader, b"id")
            taken(reader, short)
        case "another stream":
            arrived(reader, b"id")
            reader.forget()
        case "half of it came":
            taken(reader, feed.BodyPart(b"id", BODY[:9_000], last=False))

    with pytest.raises(Unreachable, match="sent again"):
        taken(reader, short)
    assert [e for m in taken(reader, feed.Append((sent,), 1)) if isinstance(m, feed.Append) for e in m.entries] == [
        sent
    ]


def test_bodies_and_entries_may_come_by_turns():
    reader, sent = DownwardReader(), ahead_of(BODY, b"1")
    small = following(sent.point, 3, Kind.TRANSACTION, b"small")
    taken(reader, feed.BodyPart(b"1", bytes(8) + BODY[8:500], last=False))
    taken(reader, feed.BodyPart(b"2", BODY[:700], last=False))
    assert taken(reader, feed.Append((small,), 1)) == [feed.Append((small,), 1)]
    taken(reader, feed.BodyPart(b"1", BODY[500:], last=True))

    (append,) = taken(reader, feed.Append((sent,), 1, frozenset((sent.lsn,))))

    assert append.entries == (sent,) and continues(ORIGIN, append.entries[0])


def test_a_body_that_had_no_reason_to_come_ahead_is_refused():
    with pytest.raises(BadRequest, match="came ahead"):
        taken(DownwardReader(), feed.BodyPart(b"1", b"tiny", last=True))
