"""What a follower reads of a feed: messages put together again, large bodies in files. One stream, one reader."""

from __future__ import annotations

import logging
from collections.abc import Callable

from springtide.ahead import Ahead, Arriving
from springtide.errors import BadRequest, NoSpace, Unreachable
from springtide.records import feed
from springtide.records.digests import REST_FROM, WHOLE_BYTES_MAX
from springtide.records.entries import Entry, Kind
from springtide.records.ids import NodeId
from springtide.spool import SPOOLED_FROM, FileSpool, Spool
from springtide.wire import MESSAGE_BYTES_MAX
from springtide.wire.convert import name_from_wire, point_from_wire
from springtide.wire.v1 import records_pb2, replication_pb2

log = logging.getLogger(__name__)

Down = replication_pb2.PrimaryMessage


class DownwardReader:
    """Invariant: a body that came ahead is in ``_coming`` until its last part has come, then in ``_ahead``, until its
    entry comes or the primary says that it is not needed."""

    def __init__(self, stage: Callable[[], Spool] = FileSpool) -> None:
        """Large bodies are put together in what ``stage`` makes."""
        self._stage = stage
        self._partial: Arriving | None = None
        self._coming: dict[bytes, Arriving] = {}
        self._ahead: dict[bytes, Ahead] = {}
        self._refused: set[bytes] = set()  # there was no room for them

    def forget(self) -> None:
        """The stream has ended: what came of an entry, or ahead of it, is of no use."""
        self._partial = None
        self._coming, self._ahead, self._refused = {}, {}, set()

    def takes_time(self, message: Down) -> bool:
        """Whether ``take`` writes to a disk: not on an event loop, then."""
        large = self._partial is not None and self._partial.size > SPOOLED_FROM - MESSAGE_BYTES_MAX
        return large or message.HasField("body_part")

    def take(self, message: Down) -> feed.Downward:
        """The message; ``Part`` while what it belongs to is incomplete.

        Raises BadRequest, or NoSpace or DiskFailed where a large entry cannot be written.
        """
        match message.WhichOneof("body"):
            case "append":
                return self._append(message.append)
            case "heartbeat":
                return feed.Heartbeat(message.heartbeat.round, message.heartbeat.commit, message.heartbeat.age)
            case "welcome":
                w = message.welcome
                last, oldest = point_from_wire(w.last), point_from_wire(w.oldest)
                return feed.Welcome(w.epoch, NodeId(w.primary), w.uptime, w.history, last, oldest)
            case "refused":
                return feed.Refused(message.refused.reason, message.refused.epoch)
            case "found":
                return feed.Found()
            case "missing":
                return feed.Missing()
            case "too_old":
                return feed.TooOld(point_from_wire(message.too_old.oldest))
            case "blobs":
                return feed.Blobs(tuple(name_from_wire(name) for name in message.blobs.names))
            case "body_part":
                return self._body_part(message.body_part)
            case "bodies_gone":
                return self._gone(message.bodies_gone)
            case other:
                raise BadRequest(f"a primary sent a message of unknown kind ({other})")

    def _append(self, append: replication_pb2.FeedAppend) -> feed.Append | feed.Part:
        entries = []
        for part in append.entries:
            if part.ahead:
                entries.append(self._placed(part))
            elif self._partial is not None or part.more:
                self._partial = self._partial or Arriving(self._stage)
                self._partial.add(part.body)
                if self._partial.overflows:
                    self._partial.spool()
                if not part.more:
                    whole, self._partial = self._partial, None
                    entries.append(_entry(part, whole))
            else:
                entries.append(Entry(part.epoch, part.lsn, _kind(part), part.digest, part.body))
        return feed.Append(tuple(entries), append.commit) if entries or self._partial is None else feed.Part()

    # -- bodies that come ahead ------------------------------------------------------------------

    def _body_part(self, part: replication_pb2.FeedBodyPart) -> feed.Arrived | feed.Part:
        """A body for which there is no room is let go: its vote will fail, and nothing else."""
        if part.id in self._refused:
            return feed.Part()
        try:
            return self._received(part)
        except NoSpace as error:
            log.warning("a large transaction cannot be taken in before its vote: %s", error)
            self._coming.pop(part.id, None)
            self._refused.add(part.id)
            return feed.Part()

    def _received(self, part: replication_pb2.FeedBodyPart) -> feed.Arrived | feed.Part:
        coming = self._coming.setdefault(part.id, Arriving(self._stage))
        coming.add(part.data)
        if coming.overflows:
            coming.spool()
        if not part.last:
            return feed.Part()
        if coming.size <= WHOLE_BYTES_MAX:
            raise BadRequest(f"a body of {coming.size} bytes came ahead: so small ones come with their entries")
        body = coming.ahead(part.id)
        del self._coming[part.id]
        self._ahead[part.id] = body
        return feed.Arrived(body)

    def _gone(self, gone: replication_pb2.FeedBodiesGone) -> feed.Part:
        for id in gone.ids:
            self._coming.pop(id, None)
            self._ahead.pop(id, None)
            self._refused.discard(id)
        return feed.Part()

    def _placed(self, part: records_pb2.Entry) -> Entry:
        body = self._ahead.pop(part.ahead, None)
        if body is None or len(part.body) != REST_FROM:
            raise Unreachable(f"the body of entry {part.lsn} is not here: it must be sent again")
        body.first(part.body)
        return body.entry(part.epoch, part.lsn, _kind(part), part.digest)


def _entry(part: records_pb2.Entry, whole: Arriving) -> Entry:
    """The entry that ends with ``part``. What is in a file stays there, and the log takes it over."""
    if whole.is_spooled:
        return whole.ahead(b"").entry(part.epoch, part.lsn, _kind(part), part.digest)
    return Entry(part.epoch, part.lsn, _kind(part), part.digest, whole.whole())


def _kind(part: records_pb2.Entry) -> Kind:
    try:
        return Kind(part.kind)
    except ValueError:
        raise BadRequest(
            f"entry {part.lsn} is of kind {part.kind}, which this version does not know: upgrade this node"
        ) from None
