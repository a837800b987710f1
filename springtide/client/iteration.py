"""Transactions with their records, in the order of their tids, as of one moment."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import zope.interface
from ZODB.Connection import TransactionMetaData
from ZODB.interfaces import IStorageRecordInformation, IStorageTransactionInformation

from springtide.client import messages
from springtide.client.cluster import Cluster
from springtide.client.errors import ClusterUnavailable, Refused, SessionLost
from springtide.client.spilling import Spilling
from springtide.client.transaction import Spilled
from springtide.client.watched import Watched
from springtide.records.entries import Blob
from springtide.records.ids import TID_ZERO, Oid, Tid, next_tid
from springtide.spool import FileSpool
from springtide.wire.v1 import session_pb2 as wire

METHOD = "/springtide.wire.v1.Storage/Iterate"


@zope.interface.implementer(IStorageRecordInformation)
class Record:
    __slots__ = ("blob", "data", "data_txn", "oid", "tid")

    version = ""

    def __init__(self, oid: Oid, tid: Tid, data: bytes | None, data_txn: Tid | None, blob: Blob | None = None) -> None:
        self.oid = oid
        self.tid = tid
        self.data = data
        self.data_txn = data_txn
        #: Says that this revision has a file, also where a wrapper has transformed the record.
        self.blob = blob


@zope.interface.implementer(IStorageTransactionInformation)
class TransactionRecord(TransactionMetaData):  # type: ignore[misc]
    """What the records have, where it is much, waits in a temporary file until they are looked at."""

    def __init__(self, head: wire.IteratedHead, spilling: Spilling) -> None:
        super().__init__(head.user, head.description, head.extension)
        self.tid = Tid(head.tid)
        self.status = head.status.decode("latin-1") or " "
        self._records: list[tuple[Record, Spilled | None]] = []
        self._spilling = spilling
        self._file: FileSpool | None = None
        self._held = self._spilled = 0  # bytes in memory, and how many records are not

    def __iter__(self) -> Iterator[Record]:
        """Records of their own for every walk: wrappers that transform records change them."""
        for kept, spilled in self._records:
            yield Record(kept.oid, kept.tid, self._data(kept, spilled), kept.data_txn, kept.blob)

    def _data(self, kept: Record, spilled: Spilled | None) -> bytes | None:
        if spilled is None:
            return kept.data
        assert self._file is not None, "what was spilled is in a file"
        with self._spilling.translated():
            return self._file.read(spilled.at, len(spilled))

    def add(self, record: Record) -> None:
        self._records.append((record, None))
        self._held += len(record.data or b"")
        if self._held > self._spilling.bytes_max:
            with self._spilling.translated():
                self._spill()

    def _spill(self) -> None:
        self._file = self._file or self._spilling.file()
        for number in range(self._spilled, len(self._records)):
            record, _ = self._records[number]
            if record.data is not None:
                self._records[number] = record, Spilled(self._file.end, len(record.data))
                self._file.write(record.data)
                record.data = None
        self._held, self._spilled = 0, len(self._records)


class History:
    """An iterator. When its node is lost it goes on from another one, after what it gave last."""

    def __init__(
        self, cluster: Cluster, start: Tid, stop: Tid, timeout: float, spilling: Spilling | None = None
    ) -> None:
        self._cluster = cluster
        self._spilling = spilling or Spilling()
        self._next = start
        self._stop = stop
        self._timeout = timeout
        self._stream: Iterator[TransactionRecord] | None = None
        self._watched: Watched | None = None
        self._deadline = 0.0

    def __iter__(self) -> History:
        return self

    def __next__(self) -> TransactionRecord:
        self._deadline = time.monotonic() + self._timeout
        while True:
            if self._next > self._stop:
                raise StopIteration
            try:
                if self._stream is None:
                    self._stream = self._open()
                transaction = next(self._stream)
            except StopIteration:
                self.close()
                raise
            except (SessionLost, Refused) as error:
                self._stream = None
                if time.monotonic() >= self._deadline:
                    raise ClusterUnavailable(
                        f"no node could go on iterating within {self._timeout:g} s: {error}"
                    ) from None
                self._cluster.pause(self._deadline)
                continue
            self._next = next_tid(transaction.tid)
            return transaction

    def close(self) -> None:
        self._next, self._stop = Tid(b"\xff" * 8), TID_ZERO
        if self._watched is not None:
            self._watched.cancel()

    __del__ = close

    def _open(self) -> Iterator[TransactionRecord]:
        session = self._cluster.reader(self._deadline, ())
        self._cluster.noted(lambda balance: balance.released(session.node))
        request = wire.IterateRequest(start=self._next, stop=self._stop, floor=self._stop, cluster=self._cluster.id)
        self._watched = Watched(
            session.channel.unary_stream(
                METHOD,
                request_serializer=wire.IterateRequest.SerializeToString,
                response_deserializer=wire.IterateAnswer.FromString,
            )(request),
            self._timeout,
        )
        return _assembled(self._watched, self._spilling)


def _assembled(answers: Iterator[Any], spilling: Spilling) -> Iterator[TransactionRecord]:
    """Heads with their records; a record in several messages is put together."""
    current: TransactionRecord | None = None
    parts: list[bytes] = []
    first: wire.IteratedRecord | None = None
    for answer in answers:
        if answer.WhichOneof("body") == "head":
            if current is not None:
                yield current
            current = TransactionRecord(answer.head, spilling)
            continue
        record = answer.record
        first = record if first is None else first
        parts.append(record.data)
        if record.more:
            continue
        assert current is not None
        data = None if first.absent else b"".join(parts)
        blob = messages.blob(first.blob) if first.HasField("blob") else None
        current.add(Record(Oid(first.oid), current.tid, data, Tid(first.data_tid) or None, blob))
        parts, first = [], None
    if current is not None:
        yield current
