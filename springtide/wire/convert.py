"""Feed messages and entries as they travel.

Anything larger than a chunk is cut here and put together again here.
"""

from __future__ import annotations

from collections.abc import Iterator

from springtide.errors import BadRequest
from springtide.records import feed
from springtide.records.blobs import Named
from springtide.records.digests import REST_FROM
from springtide.records.entries import BLOB_DIGEST_BYTES, BLOB_ID_BYTES, Blob, Entry
from springtide.records.ids import Member, NodeId, Oid, Tid
from springtide.records.position import Point
from springtide.wire import CHUNK_BYTES, WIRE_VERSION
from springtide.wire.v1 import records_pb2, replication_pb2, session_pb2

#: Names of files in one message: 100 kB.
NAMES_MAX = 1_000

Up = replication_pb2.FollowerMessage
Down = replication_pb2.PrimaryMessage


def point_to_wire(point: Point) -> records_pb2.Point:
    return records_pb2.Point(epoch=point.epoch, lsn=point.lsn, digest=point.digest)


def point_from_wire(point: records_pb2.Point) -> Point:
    return Point(point.epoch, point.lsn, point.digest)


def member_to_wire(member: Member) -> records_pb2.Member:
    return records_pb2.Member(node=member.node, incarnation=member.incarnation)


def member_from_wire(member: records_pb2.Member) -> Member:
    return Member(NodeId(member.node), member.incarnation)


def blob_to_wire(blob: Blob) -> session_pb2.Blob:
    return session_pb2.Blob(id=blob.id, size=blob.size, digest=blob.digest)


def blob_from_wire(blob: session_pb2.Blob | replication_pb2.BlobName) -> Blob:
    """Raises BadRequest."""
    if len(blob.id) != BLOB_ID_BYTES or len(blob.digest) != BLOB_DIGEST_BYTES:
        raise BadRequest(f"a blob has an id of {BLOB_ID_BYTES} bytes and a digest of {BLOB_DIGEST_BYTES}")
    return Blob(blob.id, blob.size, blob.digest)


def name_to_wire(named: Named) -> replication_pb2.BlobName:
    blob = named.blob
    return replication_pb2.BlobName(
        id=blob.id,
        size=blob.size,
        digest=blob.digest,
        oid=named.oid,
        tid=named.tid or b"",
        data_tid=named.data_tid or b"",
    )


def name_from_wire(name: replication_pb2.BlobName) -> Named:
    """Raises BadRequest."""
    if len(name.oid) != 8 or len(name.tid) not in (0, 8) or len(name.data_tid) not in (0, 8):
        raise BadRequest("oids and tids have 8 bytes")
    tid, data_tid = Tid(name.tid) if name.tid else None, Tid(name.data_tid) if name.data_tid else None
    return Named(blob_from_wire(name), Oid(name.oid), tid, data_tid)


def pieces(data: bytes | memoryview) -> Iterator[tuple[bytes, bool]]:
    """``data`` in chunks, each with whether more of it follows."""
    if len(data) <= CHUNK_BYTES:
        yield bytes(data), False
        return
    for at in range(0, len(data), CHUNK_BYTES):
        yield bytes(data[at : at + CHUNK_BYTES]), at + CHUNK_BYTES < len(data)


def upward_to_wire(message: feed.Upward) -> Up:
    match message:
        case feed.Hello(member, uptime, cluster, promised, last, electable, wall):
            return Up(
                hello=replication_pb2.FeedHello(
                    wire_version=WIRE_VERSION,
                    member=member_to_wire(member),
                    uptime=uptime,
                    cluster=cluster,
                    promised=promised,
                    last=point_to_wire(last),
                    electable=electable,
                    wall=wall,
                )
            )
        case feed.Probe(at):
            return Up(probe=replication_pb2.FeedProbe(at=point_to_wire(at)))
        case feed.Copy(after):
            return Up(copy=replication_pb2.FeedCopy(after=point_to_wire(after)))
        case feed.Ack(durable, applied, headroom_bytes, reads):
            ack = replication_pb2.FeedAck(durable=durable, applied=applied, headroom_bytes=headroom_bytes, reads=reads)
            return Up(ack=ack)
        case feed.Confirm(round, wall):
            return Up(confirm=replication_pb2.FeedConfirm(round=round, wall=wall))
        case feed.Held(ids):
            return Up(held=replication_pb2.FeedHeld(ids=ids))


def upward_from_wire(message: Up) -> feed.Upward:
    """Raises BadRequest for a message this version does not know."""
    match message.WhichOneof("body"):
        case "hello":
            hello = message.hello
            return feed.Hello(
                member_from_wire(hello.member),
                hello.uptime,
                hello.cluster,
                hello.promised,
                point_from_wire(hello.last),
                hello.electable,
                hello.wall,
            )
        case "probe":
            return feed.Probe(point_from_wire(message.probe.at))
        case "copy":
            return feed.Copy(point_from_wire(message.copy.after))
        case "ack":
            ack = message.ack
            return feed.Ack(ack.durable, ack.applied, ack.headroom_bytes, ack.reads)
        case "confirm":
            return feed.Confirm(message.confirm.round, message.confirm.wall)
        case "held":
            return feed.Held(tuple(message.held.ids))
        case other:
            raise BadRequest(f"a follower sent a message of unknown kind ({other})")


def downward_to_wire(message: feed.Downward) -> Iterator[Down]:
    """One message, or several where entries are large."""
    match message:
        case feed.Append(entries, commit, known):
            yield from _appends(entries, commit, known)
        case feed.Heartbeat(round, commit, age):
            yield Down(heartbeat=replication_pb2.FeedHeartbeat(round=round, commit=commit, age=age))
        case feed.Welcome(epoch, primary, uptime, history, last, oldest):
            yield Down(
                welcome=replication_pb2.FeedWelcome(
                    epoch=epoch,
                    primary=primary,
                    uptime=uptime,
                    history=history,
                    last=point_to_wire(last),
                    oldest=point_to_wire(oldest),
                )
            )
        case feed.Refused(reason, epoch):
            yield Down(refused=replication_pb2.FeedRefused(reason=reason, epoch=epoch))
        case feed.Found():
            yield Down(found=replication_pb2.FeedFound())
        case feed.Missing():
            yield Down(missing=replication_pb2.FeedMissing())
        case feed.Blobs(names):
            for at in range(0, len(names), NAMES_MAX):
                batch = [name_to_wire(named) for named in names[at : at + NAMES_MAX]]
                yield Down(blobs=replication_pb2.FeedBlobs(names=batch))
        case feed.BodyPart(id, data, last):
            yield Down(body_part=replication_pb2.FeedBodyPart(id=id, data=bytes(data), last=last))
        case feed.BodiesGone(ids):
            yield Down(bodies_gone=replication_pb2.FeedBodiesGone(ids=ids))
        case feed.Part() | feed.Arrived():
            raise AssertionError("that is not sent, it is what arrives of something larger")
        case feed.TooOld(oldest):
            yield Down(too_old=replication_pb2.FeedTooOld(oldest=point_to_wire(oldest)))


def _appends(entries: tuple[Entry, ...], commit: int, known: frozenset[int]) -> Iterator[Down]:
    batch, size = replication_pb2.FeedAppend(commit=commit), 0
    for entry in entries:
        ahead = entry.ahead.id if entry.ahead is not None and entry.lsn in known else b""
        for data, more in pieces(entry.body[:REST_FROM] if ahead else entry.body):
            if size and size + len(data) > CHUNK_BYTES:
                yield Down(append=batch)
                batch, size = replication_pb2.FeedAppend(commit=commit), 0
            kind = records_pb2.Kind.ValueType(entry.kind)
            digest = entry.digest
            batch.entries.add(
                epoch=entry.epoch, lsn=entry.lsn, kind=kind, digest=digest, body=data, more=more, ahead=ahead
            )
            size += len(data) + 64
    yield Down(append=batch)
