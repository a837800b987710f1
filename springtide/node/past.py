"""What clients ask about the past, and about all objects: histories, what undo needs, walks over the database.

Every answer is a page of bounded size, read outside the loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Iterator, Sequence
from typing import Any, Protocol, cast

from springtide import errors
from springtide.node.answers import Answers
from springtide.node.core import CATCH_UP_SECONDS, NodeCore
from springtide.node.fields import floor_of, oid_of, tid_of
from springtide.node.ports import Disk
from springtide.records.entries import TransactionHead
from springtide.records.ids import Oid, Tid
from springtide.wire import CHUNK_BYTES, convert
from springtide.wire.v1 import session_pb2 as pb

#: A page of heads or of revisions has no more than this; reading them takes milliseconds.
PAGE_MAX = 1_000
#: More, because each page reads the names of all objects of the transaction.
OBJECTS_MAX = 5_000
#: A page of records ends where it would become larger. One record may be.
PAGE_BYTES_MAX = CHUNK_BYTES

Body = tuple[str, Any]


class PastDisk(Disk, Protocol):
    """What sessions read of the engine beside ``Disk``. The simulated disk, which has no sessions, has none of it."""

    def heads(self, before: Tid, count: int) -> Sequence[Any]: ...
    def history(self, oid: Oid, before: Tid, count: int) -> Sequence[Any]: ...
    def transaction(self, tid: Tid) -> tuple[TransactionHead, Sequence[Oid]] | None: ...
    def undoing(self, tid: Tid, oid: Oid) -> Any: ...
    def said(self, oid: Oid, tid: Tid, data: bytes | None) -> bool: ...
    def current_records(self, start: Oid, bytes_max: int) -> tuple[Sequence[Any], Oid | None, Tid]: ...


class PastRequests:
    def __init__(self, core: NodeCore, answers: Answers) -> None:
        self._core = core
        self._answers = answers

    def answer(self, request: int, kind: str, asked: Any) -> Coroutine[Any, Any, None]:
        """What answers a request of one of the kinds in ``READS``. Raises BadRequest, at once, for a malformed one."""
        return self._answer(request, floor_of(asked.floor), READS[kind](asked))

    async def _answer(self, request: int, floor: Tid, read: Read) -> None:
        await self._core.until_tid(floor, CATCH_UP_SECONDS)
        bodies = await asyncio.to_thread(read, cast(PastDisk, self._core.disk))
        self._answers.served(len(bodies))
        for name, body in bodies:
            self._answers.answer(request, **{name: body})


Read = Callable[[PastDisk], list[Body]]


def _heads(asked: pb.Heads) -> Read:
    before, count = tid_of("before", asked.before), _count(asked.count)
    return lambda disk: _told(disk, disk.heads(before, count))


def _history(asked: pb.History) -> Read:
    oid, before, count = oid_of(asked.oid), tid_of("before", asked.before), _count(asked.count)
    return lambda disk: _told(disk, disk.history(oid, before, count))


def _told(disk: PastDisk, found: Iterable[Any]) -> list[Body]:
    bodies: list[Body] = [("past", _past(disk, each.head, each.size, each.absent)) for each in found]
    return [*bodies, ("done", pb.Done())]


def _past(disk: PastDisk, head: TransactionHead, size: int = 0, absent: bool = False) -> pb.Past:
    return pb.Past(
        tid=head.tid,
        status=head.status,
        user=head.user,
        description=head.description,
        extension=head.extension,
        size=size,
        absent=absent,
        packed=head.tid <= disk.packed,
    )


def _undo_read(asked: pb.UndoRead) -> Read:
    tid, chosen = tid_of("tid", asked.tid), [oid_of(oid) for oid in asked.oids]
    if len(chosen) > PAGE_MAX:
        raise errors.BadRequest(
            f"{len(chosen)} objects of a transaction were asked for, at most {PAGE_MAX} are answered"
        )
    return lambda disk: _to_undo(disk, tid, asked.first, chosen)


def _to_undo(disk: PastDisk, tid: Tid, first: int, chosen: list[Oid]) -> list[Body]:
    transaction = disk.transaction(tid)
    if transaction is None:
        return [("done", pb.Done())]
    head, written = transaction
    bodies: list[Body] = []
    following = b""
    size = 0
    for number, oid in enumerate(chosen or written[first : first + OBJECTS_MAX], first + 1):
        facts = disk.undoing(tid, oid)
        if facts is None:
            continue
        bodies += (("undone", part) for part in undone(facts))
        size += len(facts.write.data or b"") if facts.write is not None else 0
        if not chosen and number < len(written) and (size >= PAGE_BYTES_MAX or number == first + OBJECTS_MAX):
            following = number.to_bytes(8, "big")
            break
    # The pack point is looked at last: it rises before anything is taken away, which may have been just now.
    return [("past", _past(disk, head)), *bodies, ("done", pb.Done(next=following))]


def undone(facts: Any) -> Iterator[pb.Undone]:
    """What is known of one object, in several parts where the record is large."""
    answer = pb.Undone(
        oid=facts.oid,
        current=facts.current,
        current_absent=facts.current_absent,
        same=facts.same,
        undone_absent=facts.undone_absent,
        before=facts.before or b"",
    )
    write = facts.write
    if write is not None:
        answer.before_absent = write.data is None
        answer.refers, answer.references = write.references is not None, write.references or b""
        if write.blob is not None:
            answer.blob.CopyFrom(pb.Blob(id=write.blob.id, size=write.blob.size, digest=write.blob.digest))
    for number, (data, more) in enumerate(convert.pieces(b"" if write is None else write.data or b"")):
        part = answer if number == 0 else pb.Undone(oid=facts.oid)
        part.data, part.more = data, more
        yield part


def _records(asked: pb.Records) -> Read:
    start = oid_of(asked.start)

    def read(disk: PastDisk) -> list[Body]:
        found, following, as_of = disk.current_records(start, PAGE_BYTES_MAX)
        bodies: list[Body] = []
        for record in found:
            for data, more in convert.pieces(record.data):
                result = pb.Loaded.RESULT_FOUND
                part = pb.Loaded(oid=record.oid, result=result, tid=record.tid, as_of=as_of, data=data, more=more)
                bodies.append(("loaded", part))
        return [*bodies, ("done", pb.Done(next=following or b""))]

    return read


def _count(count: int) -> int:
    if not 0 < count <= PAGE_MAX:
        raise errors.BadRequest(f"1 to {PAGE_MAX} are told at a time, not {count}")
    return count


READS: dict[str, Callable[[Any], Read]] = {
    "heads": _heads,
    "history": _history,
    "undo_read": _undo_read,
    "records": _records,
}
