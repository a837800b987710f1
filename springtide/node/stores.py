"""A transaction's writes as they arrive: cut records are put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from springtide import errors
from springtide.primary.conflicts import Intent, Wanted
from springtide.primary.votes import Ticket
from springtide.records.ids import TID_MAX, TID_ZERO, Oid, Tid, TransactionId
from springtide.spool import FileSpool, Growing, Spool
from springtide.wire import convert
from springtide.wire.v1 import session_pb2 as pb

Key = tuple[TransactionId, int]

_INTENTS = {
    pb.Write.KIND_STORE: Intent.STORE,
    pb.Write.KIND_CHECK: Intent.CHECK,
    pb.Write.KIND_DELETE: Intent.DELETE,
    pb.Write.KIND_RESTORE: Intent.RESTORE,
    pb.Write.KIND_UNDO: Intent.UNDO,
}


@dataclass(slots=True)
class _Partial:
    first: pb.Write
    data: Growing


class Assembly:
    """Records of which a part has arrived, by attempt."""

    def __init__(self, record_bytes_max: int, spool: Callable[[], Spool] = FileSpool) -> None:
        """Records too large for memory go to what ``spool`` makes."""
        self._record_bytes_max = record_bytes_max
        self._make_spool = spool
        self._partial: dict[Key, _Partial] = {}

    def add(self, key: Key, writes: Iterable[pb.Write]) -> list[Wanted]:
        """The writes that are now whole. Raises BadRequest for malformed ones."""
        return list(self._whole(key, writes))

    def _whole(self, key: Key, writes: Iterable[pb.Write]) -> Iterator[Wanted]:
        for write in writes:
            partial = self._partial.get(key)
            if partial is None and not write.more:
                yield _wanted(write, write.data)
                continue
            if partial is None:
                partial = self._partial[key] = _Partial(write, Growing(self._make_spool))
            if partial.first.oid != write.oid:
                raise errors.BadRequest(f"a write of oid {partial.first.oid.hex()} was not finished")
            partial.data.add(write.data)
            if partial.data.size > self._record_bytes_max:
                raise errors.TooLarge(
                    f"the record of oid {write.oid.hex()} has more than {self._record_bytes_max:,} bytes "
                    "(record_bytes_max): keep large data in blobs or several objects"
                )
            if not write.more:
                del self._partial[key]
                yield _wanted(partial.first, partial.data.whole())

    def overflows(self, key: Key) -> bool:
        """Whether it is time to ``spool`` the record that is arriving."""
        partial = self._partial.get(key)
        return partial is not None and partial.data.overflows

    def spool(self, key: Key) -> None:
        """Move what is here of that record to the disk. Blocks."""
        self._partial[key].data.spool()

    def forget(self, key: Key) -> None:
        self._partial.pop(key, None)


def _wanted(write: pb.Write, data: bytes | memoryview) -> Wanted:
    intent = _INTENTS.get(write.kind)
    if intent is None:
        raise errors.BadRequest(f"a write of kind {write.kind} is not known to this node: upgrade it")
    if len(write.oid) != 8:
        raise errors.BadRequest(f"an oid has 8 bytes, not {len(write.oid)}")
    if write.oid[0] & 0x80:
        raise errors.BadRequest(f"oid {write.oid.hex()} is too high: oids are below 2**63")
    serial = write.serial or TID_ZERO
    if len(serial) != 8 or len(write.data_tid) not in (0, 8):
        raise errors.BadRequest(f"a serial has 8 bytes, not {len(serial)}")
    if len(write.references) % 8:
        raise errors.BadRequest(
            f"references of oid {write.oid.hex()} are whole oids, not {len(write.references)} bytes"
        )
    gone = write.absent or intent in (Intent.DELETE, Intent.CHECK)
    return Wanted(
        Oid(write.oid),
        intent,
        Tid(serial),
        None if gone else data,
        Tid(write.data_tid) if write.data_tid else None,
        write.references if write.refers else None,
        convert.blob_from_wire(write.blob) if write.HasField("blob") else None,
    )


def ticket_of(vote: pb.Vote) -> Ticket:
    if len(vote.tid) not in (0, 8):
        raise errors.BadRequest(f"a tid has 8 bytes, not {len(vote.tid)}")
    if len(vote.status) > 1:
        raise errors.BadRequest("a transaction's status is one byte")
    tid = Tid(vote.tid) if vote.tid else None
    if tid is not None and not TID_ZERO < tid < TID_MAX:
        raise errors.BadRequest(f"tid {tid.hex()} is not between 0 and {TID_MAX.hex()}")
    if len(vote.undoes) not in (0, 8):
        raise errors.BadRequest(f"a tid has 8 bytes, not {len(vote.undoes)}")
    undoes = Tid(vote.undoes) if vote.undoes else None
    return Ticket(vote.user, vote.description, vote.extension, tid, vote.status or b" ", undoes)
