"""What a client says on the wire, and what it is told, as its own values.

Outgoing: writes are packed into messages of about ``CHUNK_BYTES``, and a larger
record travels in several. Incoming: ``Parts`` puts such records, and long lists of
invalidated oids, together again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from springtide.client import transaction as tx
from springtide.client.routing import Node, Topology
from springtide.records.entries import Blob
from springtide.records.ids import TID_ZERO, Oid, Tid
from springtide.wire.v1 import records_pb2
from springtide.wire.v1 import session_pb2 as wire

WIRE_VERSION = 1
#: Bytes of content in one message. Limits are at 4 MiB; small messages let other requests in between.
CHUNK_BYTES = 512 * 1024

FOUND, NOT_YET = wire.Loaded.RESULT_FOUND, wire.Loaded.RESULT_NOT_YET
UNKNOWN, DELETED = wire.Loaded.RESULT_UNKNOWN, wire.Loaded.RESULT_DELETED


class Loaded(NamedTuple):
    """``next_tid`` is None where no later revision existed at ``as_of``.

    ``unchanged``: it is the revision that the client named as its own, and ``data`` was not sent.
    ``packs``: how many the node had seen when it read this.
    """

    oid: Oid
    result: int
    data: bytes
    tid: Tid
    next_tid: Tid | None
    as_of: Tid
    unchanged: bool = False
    packs: int = 0
    blob: Blob | None = None

    @property
    def found(self) -> bool:
        return self.result == FOUND


class Limits(NamedTuple):
    record_bytes_max: int = 0  # 0: not known, not limited
    transaction_bytes_max: int = 0
    blob_bytes_max: int = 0


class Welcome(NamedTuple):
    node: str
    cluster: str
    history: str
    last_tid: Tid
    topology: Topology
    limits: Limits
    wire_version: int
    packs: int = 0
    packed: Tid = TID_ZERO


def hello(label: str, cluster: str, last: Tid | None, packs: int, invalidations: bool) -> wire.ClientMessage:
    return wire.ClientMessage(
        hello=wire.SessionHello(
            wire_version=WIRE_VERSION,
            client=label,
            cluster=cluster,
            last_tid=last or b"",
            packs=packs,
            invalidations=invalidations,
        )
    )


def welcome(message: wire.SessionWelcome) -> Welcome:
    limits = message.limits
    return Welcome(
        message.node,
        message.cluster,
        message.history,
        _tid(message.last_tid),
        topology(message.topology),
        Limits(limits.record_bytes_max, limits.transaction_bytes_max, limits.blob_bytes_max),
        message.wire_version,
        message.packs,
        _tid(message.packed),
    )


def topology(message: records_pb2.Topology) -> Topology:
    nodes = (Node(node.id, node.address, node.primary, node.in_sync) for node in message.nodes)
    return Topology(message.epoch, message.primary, tuple(nodes), message.stale)


def load(oid: Oid, before: Tid, floor: Tid, have: Tid | None = None) -> wire.ClientMessage:
    return wire.ClientMessage(load=wire.Load(oid=oid, before=before, floor=floor, have=have or b""))


def load_serial(oid: Oid, tid: Tid, floor: Tid) -> wire.ClientMessage:
    return wire.ClientMessage(load_serial=wire.LoadSerial(oid=oid, tid=tid, floor=floor))


def prefetch(oids: Iterable[Oid], before: Tid, floor: Tid) -> wire.ClientMessage:
    return wire.ClientMessage(prefetch=wire.Prefetch(oids=oids, before=before, floor=floor))


def loaded(message: wire.Loaded, data: bytes) -> Loaded:
    return Loaded(
        Oid(message.oid),
        message.result,
        data,
        Tid(message.tid),
        Tid(message.next_tid) if message.next_tid else None,
        _tid(message.as_of),
        message.unchanged,
        message.packs,
        blob(message.blob) if message.HasField("blob") else None,
    )


_KINDS = {
    tx.Kind.STORE: wire.Write.KIND_STORE,
    tx.Kind.CHECK: wire.Write.KIND_CHECK,
    tx.Kind.DELETE: wire.Write.KIND_DELETE,
    tx.Kind.RESTORE: wire.Write.KIND_RESTORE,
    tx.Kind.UNDO: wire.Write.KIND_UNDO,
}


def voting(begun: tx.Begun, writes: Iterable[tx.Write]) -> Iterator[wire.ClientMessage]:
    """``writes`` in as many messages as needed; the last one is the vote, and brings what is left of them."""
    batch: list[wire.Write] = []
    size = 0
    for part in _parts(begun.buffer, writes):
        batch.append(part)
        size += len(part.data) + 64
        if size >= CHUNK_BYTES:
            yield _stores(begun, batch)
            batch, size = [], 0
    yield _vote(begun, batch)


def _stores(begun: tx.Begun, batch: list[wire.Write]) -> wire.ClientMessage:
    return wire.ClientMessage(stores=wire.Stores(transaction=begun.id, attempt=begun.attempt, writes=batch))


def _parts(buffer: tx.Buffer, writes: Iterable[tx.Write]) -> Iterator[wire.Write]:
    for write in writes:
        data = write.data
        size = len(data) if data is not None else 0
        if not isinstance(data, bytes):
            data = buffer.piece(write, 0, CHUNK_BYTES)
        elif size > CHUNK_BYTES:
            data = data[:CHUNK_BYTES]
        yield wire.Write(
            oid=write.oid,
            serial=write.serial,
            kind=_KINDS[write.kind],
            data=data,
            data_tid=write.data_tid or b"",
            absent=write.data is None and write.kind in (tx.Kind.RESTORE, tx.Kind.UNDO),
            more=size > CHUNK_BYTES,
            references=write.references or b"",
            refers=write.references is not None,
            blob=None if write.blob is None else to_blob(write.blob),
        )
        for at in range(CHUNK_BYTES, size, CHUNK_BYTES):
            piece = buffer.piece(write, at, CHUNK_BYTES)
            yield wire.Write(oid=write.oid, data=piece, more=at + CHUNK_BYTES < size)


def to_blob(blob: Blob) -> wire.Blob:
    return wire.Blob(id=blob.id, size=blob.size, digest=blob.digest)


def blob(message: wire.Blob) -> Blob:
    return Blob(message.id, message.size, message.digest)


def _vote(begun: tx.Begun, batch: list[wire.Write]) -> wire.ClientMessage:
    metadata = begun.metadata
    return wire.ClientMessage(
        vote=wire.Vote(
            transaction=begun.id,
            attempt=begun.attempt,
            user=metadata.user,
            description=metadata.description,
            extension=metadata.extension,
            tid=metadata.tid or b"",
            status=metadata.status,
            undoes=begun.buffer.undoes or b"",
            writes=len(begun.buffer),
            stores=batch,
        )
    )


def conflicts(message: wire.Voted) -> tuple[tx.Conflict, ...]:
    return tuple(
        tx.Conflict(
            Oid(c.oid),
            Tid(c.serial) if c.serial else TID_ZERO,
            Tid(c.committed) if c.committed else None,
            c.read_check,
            c.data,
            c.deleted,
        )
        for c in message.conflicts
    )


def finish(vote: tx.Voted) -> wire.ClientMessage:
    begun = vote.begun
    return wire.ClientMessage(finish=wire.Finish(transaction=begun.id, attempt=begun.attempt, epoch=vote.epoch))


def abort(begun: tx.Begun, last: bool) -> wire.ClientMessage:
    """``last``: no other attempt follows, so what was stored for it can go, too."""
    return wire.ClientMessage(abort=wire.Abort(transaction=begun.id, attempt=begun.attempt, last=last))


def ask_outcome(transaction: bytes, attempt: int, epoch: int) -> wire.ClientMessage:
    return wire.ClientMessage(ask_outcome=wire.AskOutcome(transaction=transaction, attempt=attempt, epoch=epoch))


_RESULTS = {
    wire.Outcome.RESULT_COMMITTED: tx.Result.COMMITTED,
    wire.Outcome.RESULT_NEVER: tx.Result.NEVER,
    wire.Outcome.RESULT_FORGOTTEN: tx.Result.FORGOTTEN,
}


def outcome(message: wire.Outcome) -> tx.Outcome:
    return tx.Outcome(_RESULTS.get(message.result, tx.Result.FORGOTTEN), _tid(message.tid))


def _tid(name: bytes) -> Tid:
    return Tid(name) if name else TID_ZERO


class Purged(NamedTuple):
    """A pack has taken these objects away. ``packs`` says how far packs are with that.

    ``superseded``: it has ended, and what something at or below this tid had replaced is no history any more.
    """

    packs: int
    oids: tuple[Oid, ...]
    superseded: Tid = TID_ZERO


class Parts:
    """Puts together what came in several messages, per request."""

    def __init__(self) -> None:
        self._first: dict[int, wire.Loaded] = {}
        self._data: dict[int, list[bytes]] = {}
        self._oids: list[bytes] = []
        self._purged: list[bytes] = []

    def loaded(self, request: int, message: wire.Loaded) -> Loaded | None:
        """The whole answer, or None while more of it is to come."""
        first = self._first.get(request)
        if first is None:
            if not message.more:
                return loaded(message, message.data)
            self._first[request] = message
            self._data[request] = [message.data]
            return None
        self._data[request].append(message.data)
        if message.more:
            return None
        del self._first[request]
        return loaded(first, b"".join(self._data.pop(request)))

    def invalidation(self, message: wire.Invalidation) -> tuple[Tid, tuple[Oid, ...]] | None:
        self._oids.extend(message.oids)
        if message.more:
            return None
        oids, self._oids = self._oids, []
        return Tid(message.tid), tuple(map(Oid, oids))

    def purged(self, message: wire.Purged) -> Purged | None:
        self._purged.extend(message.oids)
        if message.more:
            return None
        oids, self._purged = self._purged, []
        return Purged(message.packs, tuple(map(Oid, oids)), _tid(message.superseded))
