"""What a node answers, as messages."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from springtide.primary.conflicts import Intent
from springtide.primary.votes import Voted
from springtide.records.ids import TID_ZERO, Oid, Tid
from springtide.wire import CHUNK_BYTES, convert
from springtide.wire.v1 import records_pb2
from springtide.wire.v1 import session_pb2 as pb

#: Committed records that travel with a conflict: enough for the objects that resolve conflicts
#: (BTree buckets, counters), and together no more than one message.
CONFLICT_DATA_MAX = 64 * 2**10

#: Oids of invalidations in one message, each with the tag and length around it.
_OIDS_A_MESSAGE = CHUNK_BYTES // 16

_RESULTS = {
    "FOUND": pb.Loaded.RESULT_FOUND,
    "NOT_YET": pb.Loaded.RESULT_NOT_YET,
    "UNKNOWN": pb.Loaded.RESULT_UNKNOWN,
    "DELETED": pb.Loaded.RESULT_DELETED,
}


class Answers(Protocol):
    """Where answers go, in order."""

    client: str

    def answer(self, request: int, **body: Any) -> None: ...
    def served(self, reads: int) -> None: ...


@dataclass(frozen=True, slots=True)
class NodeInfo:
    id: str
    address: str
    primary: bool
    in_sync: bool


@dataclass(frozen=True, slots=True)
class Topology:
    epoch: int = 0
    primary: str = ""
    nodes: tuple[NodeInfo, ...] = ()
    #: What is read at the node that says this may be old.
    stale: bool = False


def to_topology(topology: Topology) -> records_pb2.Topology:
    return records_pb2.Topology(
        epoch=topology.epoch,
        primary=topology.primary,
        stale=topology.stale,
        nodes=[
            records_pb2.Node(id=node.id, address=node.address, primary=node.primary, in_sync=node.in_sync)
            for node in topology.nodes
        ],
    )


def loaded(oid: Oid, found: Any, packs: int = 0, have: Tid = TID_ZERO) -> Iterator[pb.Loaded]:
    """The answer to one load, in several parts where the record is large; without it where the client has it."""
    data = found.data or b""
    answer = pb.Loaded(oid=oid, result=_RESULTS[found.result.name], as_of=found.as_of, packs=packs)
    if found.tid is not None:
        answer.tid = found.tid
    if found.next_tid is not None:
        answer.next_tid = found.next_tid
    if found.blob is not None:
        answer.blob.CopyFrom(convert.blob_to_wire(found.blob))
    if answer.result == pb.Loaded.RESULT_FOUND and have == found.tid:
        answer.unchanged = True
        yield answer
        return
    if len(data) <= CHUNK_BYTES:
        answer.data = data
        yield answer
        return
    for number, (part, more) in enumerate(convert.pieces(data)):
        piece = answer if number == 0 else pb.Loaded(oid=oid, result=answer.result)
        piece.data, piece.more = part, more
        yield piece


def invalidations(tid: Tid, oids: Sequence[Oid]) -> list[pb.NodeMessage]:
    step = _OIDS_A_MESSAGE
    return [
        pb.NodeMessage(invalidation=pb.Invalidation(tid=tid, oids=oids[at : at + step], more=at + step < len(oids)))
        for at in range(0, max(1, len(oids)), step)
    ]


def missed(changes: Iterable[tuple[Tid, Sequence[Oid]]]) -> Iterator[pb.NodeMessage]:
    """The same for many transactions: as few messages as they fit into, made as they are taken."""
    batch: list[pb.Invalidation] = []
    oids_in_batch = 0
    for tid, oids in changes:
        for message in invalidations(tid, oids):
            one = message.invalidation
            if batch and oids_in_batch + len(batch) + len(one.oids) > _OIDS_A_MESSAGE:
                yield pb.NodeMessage(invalidations=pb.Invalidations(each=batch))
                batch, oids_in_batch = [], 0
            batch.append(one)
            oids_in_batch += len(one.oids)
    if batch:
        yield pb.NodeMessage(invalidations=pb.Invalidations(each=batch))


def purged(packs: int, oids: Sequence[Oid], superseded: Tid | None) -> list[pb.NodeMessage]:
    """A pack has taken these objects away; it has ended where it is said what is ``superseded``."""
    messages = [
        pb.Purged(packs=packs, oids=oids[at : at + _OIDS_A_MESSAGE], more=True)
        for at in range(0, max(1, len(oids)), _OIDS_A_MESSAGE)
    ]
    messages[-1].more, messages[-1].superseded = False, superseded or b""
    return [pb.NodeMessage(purged=message) for message in messages]


def missed_purges(
    gone: Iterable[tuple[int, Sequence[Oid]]], last: int, through: int, superseded: Tid | None
) -> Iterator[pb.NodeMessage]:
    """The same for all packs after ``last``, ``through`` that one: as few messages as they fit into, made as they are
    taken.
    """
    batch: list[Oid] = []
    for packs, oids in gone:
        if batch and len(batch) + len(oids) > _OIDS_A_MESSAGE:
            yield from purged(last, batch, None)
            batch = []
        batch += oids
        last = packs
    if batch or last < through:
        yield from purged(max(last, through), batch, superseded)


def none_without_its_purge(
    changes: Iterable[pb.NodeMessage], gone_since: Callable[[int], Iterable[tuple[int, Sequence[Oid]]]], packs: int
) -> Iterator[pb.NodeMessage]:
    """The messages of ``missed``, each after the purges of what may be lacking in it.

    They are made of the state as it is by then, which does not know any more that an object was changed which a pack
    has taken away meanwhile: whoever is told them must have dropped it. What packs through ``packs`` took is told.
    """
    for message in changes:
        gone = list(gone_since(packs))
        if gone:
            yield from missed_purges(gone, packs, packs, None)
            packs = gone[-1][0]
        yield message


def voted(answer: Voted, disk: Any) -> pb.Voted:
    message, budget = pb.Voted(epoch=answer.epoch, missing_blobs=answer.missing_blobs), CHUNK_BYTES
    for conflict in answer.conflicts:
        entry = message.conflicts.add(
            oid=conflict.oid,
            serial=conflict.serial,
            committed=conflict.committed or b"",
            read_check=conflict.intent is Intent.CHECK,
        )
        if conflict.committed is None or conflict.intent is not Intent.STORE:
            continue
        found = disk.load_serial(conflict.oid, conflict.committed)
        if found.result.name == "DELETED":
            entry.deleted = True
        elif found.data is not None and len(found.data) <= min(CONFLICT_DATA_MAX, budget):
            entry.data = found.data
            budget -= len(found.data)
    return message
