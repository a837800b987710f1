"""A disk in memory whose syncs happen when the test says so."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from springtide.records import entries
from springtide.records.blobs import Named
from springtide.records.entries import Entry, Kind, Transaction
from springtide.records.forget import Forget, decode_forget
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId, next_tid, number
from springtide.records.packs import Pack, PackBegin, decode_pack
from springtide.records.position import ORIGIN, Point
from springtide.spool import FileSpool, Spool


@dataclass(frozen=True)
class Committed:
    lsn: int
    kind: Kind
    transaction: Transaction | None
    pack: Pack | None = None


class FakeBlobs:
    """Files that a test says are here."""

    def __init__(self) -> None:
        self.held: set[bytes] = set()

    async def lacking(self, names: Sequence[Named]) -> list[Named]:
        return [named for named in names if named.blob.id not in self.held]


class FakeDisk:
    def __init__(self) -> None:
        self.blobs = FakeBlobs()
        self.log: list[Entry] = []
        self.oldest = ORIGIN
        self.commit_lsn = 0
        self.commit_tid = TID_ZERO
        self.last_oid = 0
        self.packed = TID_ZERO
        self.forgotten = TID_ZERO
        self.packing: PackBegin | None = None
        self.overlay_bytes = 0
        self.room = 2**40
        self.serials: dict[Oid, Tid] = {}
        self.outcomes: dict[TransactionId, Tid] = {}
        self._syncing: list[asyncio.Future[None]] = []

    @property
    def last(self) -> Point:
        return self.log[-1].point if self.log else ORIGIN

    def point(self, lsn: int) -> Point | None:
        if lsn == 0:
            return ORIGIN
        return self.log[lsn - 1].point if lsn <= len(self.log) else None

    def append(self, new: Sequence[Entry]) -> asyncio.Future[None]:
        self.log.extend(new)
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._syncing.append(future)
        return future

    def sync(self) -> None:
        for future in self._syncing:
            future.set_result(None)
        self._syncing = []

    def fail(self, error: Exception) -> None:
        self._syncing.pop(0).set_exception(error)

    async def read(self, after_lsn: int, bytes_max: int) -> tuple[Entry, ...]:
        return tuple(self.log[after_lsn : after_lsn + 10])

    def commit(self, lsn: int) -> list[Committed]:
        done = []
        for entry in self.log[self.commit_lsn : lsn]:
            transaction = None
            if entry.kind is Kind.TRANSACTION:
                transaction = entries.decode_transaction(entry.body)
                self.commit_tid = self.outcomes[transaction.id] = transaction.tid
                for write in transaction.writes:
                    self.serials[write.oid] = transaction.tid
                    self.last_oid = max(self.last_oid, number(write.oid))
            if entry.kind is Kind.FORGET:
                self.forgotten = decode_forget(entry.body).before
                self.outcomes = {id: tid for id, tid in self.outcomes.items() if tid >= self.forgotten}
            pack = decode_pack(entry.body) if entry.kind is Kind.PACK else None
            done.append(Committed(entry.lsn, entry.kind, transaction, pack))
        self.commit_lsn = lsn
        return done

    async def forgettable(self, below: Tid, ids_max: int) -> Forget | None:
        tids = sorted(tid for tid in self.outcomes.values() if self.forgotten <= tid < below)[: ids_max + 1]
        if not tids:
            return None
        return Forget(self.forgotten, below if len(tids) <= ids_max else next_tid(tids[ids_max - 1]))

    async def until_applied(self, lsn: int) -> None:
        assert lsn <= self.commit_lsn, "nobody waits here"

    def current(self, oid: Oid) -> Tid | None:
        return self.serials.get(oid)

    def outcome(self, transaction: TransactionId) -> Tid | None:
        return self.outcomes.get(transaction)

    def headroom_bytes(self) -> int:
        return self.room

    def spool(self, begin: int = 0) -> Spool:
        return FileSpool(begin=begin)

    stage = spool
