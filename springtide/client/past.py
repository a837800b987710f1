"""Histories: of the database, for ``undoLog``, and of one object."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from persistent.timestamp import TimeStamp
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError

from springtide.client.errors import UndoRefused
from springtide.client.gathering import Gatherer
from springtide.records.ids import TID_MAX, Oid, Tid
from springtide.wire.v1 import session_pb2 as wire

#: How many transactions or revisions are asked for at a time, where it is not known how many are needed.
PAGE_LEAST, PAGE_MAX = 20, 1_000

Description = dict[str, Any]
Filter = Callable[[Description], object]


class Histories:
    def __init__(self, gatherer: Gatherer, last: Callable[[], Tid]) -> None:
        self._gatherer = gatherer
        self._last = last

    def undo_log(self, first: int, last: int, accepts: Filter | None) -> list[Description]:
        """Descriptions ``first`` up to, and without, ``last`` of what can be undone and is accepted, newest first.

        A negative ``last`` says at most how many.
        """
        end = first - last if last < 0 else last
        found: list[Description] = []
        accepted = 0
        for past in self._undoable(end) if end > 0 else ():
            description = undoable(past)
            if accepts is not None and not accepts(description):
                continue
            if accepted >= first:
                found.append(description)
            accepted += 1
            if accepted >= end:
                break
        return found

    def _undoable(self, wanted: int) -> Iterator[wire.Past]:
        """Transactions that can be undone, newest first, back to those that were packed."""
        for past in self._pages(lambda before, count, floor: _heads(before, count, floor), wanted):
            if past.status == b"p":
                return  # packed by the storage that it was copied from
            if past.status == b" ":
                yield past

    def history(self, oid: Oid, size: int, accepts: Filter | None) -> list[Description]:
        """The newest ``size`` revisions of an object, newest first. Raises POSKeyError where there are none."""
        found: list[Description] = []
        revision = None
        for revision in self._pages(lambda before, count, floor: _history(oid, before, count, floor), max(1, size)):
            if len(found) >= size:
                break
            description = described(revision, {"tid": Tid(revision.tid)})
            if accepts is None or accepts(description):
                found.append(description)
        if revision is None:
            raise POSKeyError(oid)
        return found

    def _pages(self, ask: Callable[[Tid, int, Tid], wire.ClientMessage], wanted: int) -> Iterator[wire.Past]:
        floor, before = self._last(), TID_MAX
        while True:
            count = min(max(wanted, PAGE_LEAST), PAGE_MAX)
            parts, _ = self._gatherer.ask(partial(ask, before, count, floor))
            yield from parts
            if len(parts) < count:
                return
            before = Tid(parts[-1].tid)


def _heads(before: Tid, count: int, floor: Tid) -> wire.ClientMessage:
    return wire.ClientMessage(heads=wire.Heads(before=before, count=count, floor=floor))


def _history(oid: Oid, before: Tid, count: int, floor: Tid) -> wire.ClientMessage:
    return wire.ClientMessage(history=wire.History(oid=oid, before=before, count=count, floor=floor))


def undoable(past: wire.Past) -> Description:
    """As FileStorage describes it: what the application said in the extension hides what is said here."""
    return {**described(past, {"id": undo_id(Tid(past.tid))}), **_extension(past)}


def described(past: wire.Past, more: Mapping[str, Any]) -> Description:
    return {
        **_extension(past),
        "time": TimeStamp(past.tid).timeTime(),
        "user_name": past.user,
        "description": past.description,
        "size": past.size,
        **more,
    }


def _extension(past: wire.Past) -> Mapping[str, Any]:
    try:
        extension: Mapping[str, Any] = TransactionMetaData(extension=past.extension).extension
    except Exception:  # pickled classes that are not here: the rest is worth showing
        return {}
    return extension


def undo_id(tid: Tid) -> bytes:
    """A transaction's id in undo logs: text, because it travels in forms and URLs. The same as FileStorage's."""
    return base64.b64encode(tid)


def undone_tid(id_: bytes) -> Tid:
    """The transaction that an id of an undo log names; its tid does as well. Raises UndoRefused for anything else."""
    try:
        tid = id_ if len(id_) == 8 else base64.b64decode(id_, validate=True)
    except (TypeError, ValueError, binascii.Error):
        tid = b""
    if len(tid) != 8:
        raise UndoRefused(f"{id_!r} is not the id of a transaction: undoLog tells the ids of those that can be undone")
    return Tid(tid)


def specified(specification: Mapping[str, Any] | None) -> Filter | None:
    """Accepts descriptions that say all of what ``specification`` says."""
    if not specification:
        return None
    wanted = dict(specification)
    return lambda description: all(description.get(key) == value for key, value in wanted.items())
