"""Undoing a transaction: what to write is decided in ``undo``, from facts that a node tells.

The vote checks that the facts were current. Where they were not, the objects in question are undone
again, while their locks are held, from what is current now.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

from ZODB.POSException import ConflictError, MultipleUndoErrors, POSKeyError

from springtide.client import transaction as tx
from springtide.client import undo
from springtide.client.errors import UndoRefused
from springtide.client.gathering import Gathered, Gatherer
from springtide.client.messages import blob as blob_of
from springtide.client.undo import Facts, Impossible
from springtide.records.entries import BLOB_ID_BYTES
from springtide.records.ids import TID_ZERO, Oid, Tid
from springtide.wire.v1 import session_pb2 as wire

#: So many objects that cannot be undone are named in an error.
FAILURES_MAX = 100

Ask = Callable[[Callable[[], wire.ClientMessage]], Gathered]


class Records(Protocol):
    """What undoing needs of the storage."""

    def load_serial(self, oid: Oid, tid: Tid) -> bytes: ...
    def last(self) -> Tid: ...


class Merge(Protocol):
    def __call__(self, oid: Oid, committed: Tid, serial: Tid, data: bytes, committed_data: bytes) -> bytes:
        """The merged record; ``ConflictError`` if there is none."""

    def references(self, data: bytes) -> bytes | None: ...


class Undoing:
    def __init__(self, gatherer: Gatherer, records: Records, merge: Merge) -> None:
        self._gatherer = gatherer
        self._records = records
        self._merge = merge

    def writes(self, tid: Tid, buffer: tx.Buffer) -> Iterator[tx.Write]:
        """What undoes the transaction ``tid``, on top of what ``buffer`` has.

        Raises UndoRefused where it cannot be undone at all, and at the end MultipleUndoErrors where it cannot
        be for some objects: then nothing of it may be committed. ConflictError is about what ``buffer`` has.
        """
        floor = self._records.last()
        failures: list[tuple[Oid, UndoRefused]] = []
        first = b""
        while True:
            # What is newer than all we know, only the primary surely has.
            parts, done = self._gatherer.ask(partial(_read, tid, floor, first), tid > floor)
            for facts in assembled(tid, parts):
                try:
                    yield self._write(tid, facts, buffer.written(facts.oid))
                except Impossible as reason:
                    if len(failures) < FAILURES_MAX:
                        failures.append((facts.oid, _refused(tid, None, str(reason))))
            first = done.next
            if not first:
                break
        if failures:
            raise MultipleUndoErrors(failures)

    def again(self, former: tx.Write, current: Tid, ask: Ask) -> tx.Write:
        """What undoes the same transactions, in the same order, now that ``current`` is the newest revision.

        ``ask`` is answered by the primary, where the object is locked. Raises UndoRefused or ConflictError.
        """
        made = former.beneath
        for tid in former.undoes:
            parts, _ = ask(partial(_read, tid, current, oids=(former.oid,)))
            for facts in assembled(tid, parts):
                try:
                    made = self._write(tid, facts, made)
                except Impossible as reason:
                    raise _refused(tid, former.oid, str(reason)) from None
        if made is None or not made.undoes:
            raise _refused(former.undoes[-1], former.oid, "its record is gone")
        return made

    def _write(self, tid: Tid, facts: Facts, former: tx.Write | None) -> tx.Write:
        if former is None or former.kind is tx.Kind.UNDO:
            return self._made(tid, facts, former)
        return replace(self._made(tid, facts, self._resolved(former, facts)), beneath=former)

    def _resolved(self, stored: tx.Write, facts: Facts) -> tx.Write:
        """What the same transaction stores, resolved against the newest revision, as FileStorage does at once."""
        if stored.serial == facts.current:
            return stored
        if stored.kind is tx.Kind.RESTORE:
            return replace(stored, serial=facts.current)  # it conflicts with nothing
        conflict = ConflictError(oid=stored.oid, serials=(facts.current, stored.serial))
        if not isinstance(stored.data, bytes) or stored.serial == TID_ZERO or facts.current_absent:
            raise conflict
        try:
            current = self._load(facts.oid, facts.current)
        except Impossible:
            raise conflict from None
        data = self._merge(facts.oid, facts.current, stored.serial, stored.data, current)
        return replace(stored, serial=facts.current, data=data, references=self._merge.references(data))

    def _made(self, tid: Tid, facts: Facts, former: tx.Write | None) -> tx.Write:
        """What undoes ``tid`` on top of ``former``, which is based on the newest revision, or was when it was made."""
        stands = undo.stands(tid, facts, former)
        if stands is None:
            assert former is not None, "else the node has compared"
            # Records of blobs are all alike, and what the files hold is not known here: never guess.
            stands = former.blob is None and self._load(facts.oid, tid) == former.data
        made = undo.write(tid, facts, former, stands)
        if made is None:
            data = self._merged(tid, facts, former)
            made = undo.merged(tid, facts, former, data, self._merge.references(data))
        made = made if former is None else replace(made, beneath=former.beneath)
        if made.blob is not None:  # every revision has a file of its own
            return replace(made, blob=replace(made.blob, id=os.urandom(BLOB_ID_BYTES)))
        return made

    def _merged(self, tid: Tid, facts: Facts, former: tx.Write | None) -> bytes:
        assert facts.data is not None, "else it is impossible"
        current = self._load(facts.oid, facts.current) if former is None else former.data
        assert isinstance(current, bytes), "else it is impossible; and what is undone on was taken out of its file"
        try:
            return self._merge(facts.oid, facts.current, tid, facts.data, current)
        except ConflictError:
            raise Impossible("the object was changed by a later transaction, and the two cannot be merged") from None

    def _load(self, oid: Oid, tid: Tid) -> bytes:
        try:
            return self._records.load_serial(oid, tid)
        except POSKeyError:
            raise Impossible(f"its revision {tid.hex()} is gone") from None


def _read(tid: Tid, floor: Tid, first: bytes = b"", oids: Iterable[Oid] = ()) -> wire.ClientMessage:
    number = int.from_bytes(first, "big")
    return wire.ClientMessage(undo_read=wire.UndoRead(tid=tid, floor=floor, first=number, oids=oids))


def assembled(tid: Tid, parts: Sequence[Any]) -> Iterator[Facts]:
    """The facts in one answer of a node. Raises UndoRefused where it says that there is nothing to undo."""
    if not parts:
        raise UndoRefused(f"there is no transaction {tid.hex()}, or it was packed: it cannot be undone")
    head = parts[0]
    if head.packed:
        raise UndoRefused(f"transaction {tid.hex()} cannot be undone: the database was packed since")
    if head.status != b" ":
        raise UndoRefused(
            f"transaction {tid.hex()} cannot be undone: its status is {head.status.decode('latin-1')!r}, "
            "as of those that were packed before they were copied here"
        )
    first, pieces = None, []
    for part in parts[1:]:
        first = part if first is None else first
        pieces.append(part.data)
        if not part.more:
            yield _facts(first, b"".join(pieces))
            first, pieces = None, []


def _facts(told: wire.Undone, data: bytes) -> Facts:
    return Facts(
        Oid(told.oid),
        Tid(told.current),
        told.current_absent,
        told.same,
        told.undone_absent,
        Tid(told.before) if told.before else None,
        data if told.before and not told.before_absent else None,
        told.references if told.refers else None,
        blob_of(told.blob) if told.HasField("blob") else None,
    )


def _refused(tid: Tid, oid: Oid | None, reason: str) -> UndoRefused:
    return UndoRefused(f"transaction {tid.hex()} cannot be undone: {reason}", oid)
