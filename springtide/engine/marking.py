"""Which revisions does a pack take away?

Decided as FileStorage does it. Of the revisions at or below the pack's tid, only the one that is current there
stays, and with garbage collection only where its object can be reached from the root through what is current
there. A deletion that is current there goes, with all before it. A revision that a later record repeats stays.

More can be told to stay: so many revisions of each object, and older revisions of objects of some classes.

One rule more: what later records refer to stays, and what that refers to, so that no record that
stays refers to one that went. FileStorage leaves dangling references there.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from springtide import errors
from springtide.engine.references import Unreadable
from springtide.records.bitmap import Bitmap
from springtide.records.entries import Write
from springtide.records.ids import OID_ZERO, TID_MAX, TID_ZERO, Oid, Tid, number, oid
from springtide.records.packs import PackBegin

#: Records that cannot be read here are asked about together: so many, or so many bytes.
_ASKED_AT_ONCE, _ASKED_BYTES = 200, 2**20


class Source(Protocol):
    """The revisions of a database, read at any pace."""

    def transactions(self, after: Tid, through: Tid) -> Iterator[tuple[Tid, Sequence[Oid]]]:
        """In tid order, with what each wrote."""

    def write(self, oid: Oid, tid: Tid) -> Write | None: ...
    def current(self, oid: Oid, through: Tid) -> tuple[Tid, bool] | None:
        """The newest revision at or below ``through``: its tid, and whether the object exists then."""

    def tids(self, oid: Oid) -> list[Tid]:
        """Of all revisions, the newest first."""

    def oldest(self) -> Iterator[tuple[Oid, Tid]]:
        """Every object, with the tid of its oldest revision."""


References = Callable[[Write], Iterable[Oid]]
#: What these records refer to. Raises ``PackRefused`` where nobody can say.
Ask = Callable[[Sequence[tuple[Oid, bytes]]], Sequence[Iterable[Oid]]]


def nobody_knows(records: Sequence[tuple[Oid, bytes]]) -> Sequence[Iterable[Oid]]:
    name, _ = records[0]
    raise errors.PackRefused(
        f"what the record of oid {name.hex()} refers to cannot be known here, so nothing was deleted: pack from the "
        "application, with the wrapper that transforms its records, or without garbage collection (gc=False)"
    )


class Marking:
    """What stays. Invariant: with an empty stack, ``visited`` is closed under references at the pack's tid."""

    def __init__(
        self,
        source: Source,
        pack: PackBegin,
        references: References,
        ask: Ask = nobody_knows,
        tick: Callable[[], None] = lambda: None,
        class_of: Callable[[bytes], str | None] = lambda data: None,
    ) -> None:
        """``tick`` is called now and then; ``class_of`` says of which class the object in a record is, if it can."""
        self._class_of = class_of
        self._classes = dict(pack.keep_classes)
        self._source = source
        self._pack = pack
        self._references = references
        self._ask = ask
        self._tick = tick
        self.visited = Bitmap()
        #: Revisions at or below the pack's tid that a later record repeats.
        self.repeated: set[tuple[Oid, Tid]] = set()
        self._stack = array("Q")
        self._unread: list[tuple[Oid, bytes]] = []
        self._unread_bytes = 0

    def mark(self) -> None:
        """Find what stays, as of now. Raises PackRefused where that cannot be known."""
        for tid, oids in self._source.transactions(self._pack.tid, TID_MAX):
            for name in oids:
                self._tick()
                write = self._source.write(name, tid)
                if write is not None:
                    self._later(write)
        if self._pack.gc:
            self._check_root()
            self.spare((OID_ZERO,))

    def spare(self, roots: Iterable[Oid]) -> None:
        """These stay, and all that they refer to."""
        self._push(roots)
        while self._stack or self._unread:
            while self._stack:
                self._tick()
                self._visit(oid(self._stack.pop()))
            self._resolve()

    def doomed(self) -> Bitmap:
        """The objects that lose all that they were at the pack's tid, because nothing refers to them."""
        doomed = Bitmap()
        if self._pack.gc:
            for name, tid in self._source.oldest():
                self._tick()
                if tid <= self._pack.tid and number(name) not in self.visited:
                    doomed.add(number(name))
        return doomed

    def removals(self) -> Iterator[tuple[Tid, tuple[Oid, ...]]]:
        """What goes, in tid order: of each transaction, which objects lose what it wrote. Empty ones go whole."""
        for tid, oids in self._source.transactions(TID_ZERO, self._pack.tid):
            gone = []
            for name in oids:
                self._tick()
                if self._goes(name, tid):
                    gone.append(name)
            if gone or not oids:
                yield tid, tuple(gone)

    def _goes(self, name: Oid, tid: Tid) -> bool:
        pack = self._pack
        if (name, tid) in self.repeated:
            return False
        current = self._source.current(name, pack.tid)
        if current is None:
            return True  # a pack that did not end has taken it away, and left the transaction as it was
        newest, exists = current
        if not exists or (pack.gc and number(name) not in self.visited):
            return True
        if newest == tid or (pack.keep_revisions > 1 and tid in self._source.tids(name)[: pack.keep_revisions]):
            return False
        return not self._is_of_kept_class(name, tid)

    def _later(self, write: Write) -> None:
        if write.data_tid is not None and write.data_tid <= self._pack.tid:
            self.repeated.add((write.oid, write.data_tid))
        if self._pack.gc:
            self._refer(write)

    def _check_root(self) -> None:
        """Without a root everything would be garbage: then something else is wrong."""
        root = self._source.current(OID_ZERO, self._pack.tid)
        if root is not None and root[1]:
            return
        for name, tid in self._source.oldest():
            current = self._source.current(name, self._pack.tid) if tid <= self._pack.tid else None
            if current is not None and current[1]:
                raise errors.PackRefused(
                    f"at the time to pack to there is an object {name.hex()}, but no root object: nothing was deleted; "
                    "pack without garbage collection (gc=False)"
                )

    def _push(self, names: Iterable[Oid]) -> None:
        for name in names:
            if self.visited.add(number(name)):
                self._stack.append(number(name))

    def _visit(self, name: Oid) -> None:
        for tid in self._kept(name):
            write = self._source.write(name, tid)
            if write is not None:
                self._refer(write)

    def _kept(self, name: Oid) -> list[Tid]:
        """The revisions at or below the pack's tid that stay if the object does."""
        current = self._source.current(name, self._pack.tid)
        if current is None or not current[1]:
            return []
        if self._pack.keep_revisions == 1 and not self._classes:
            return [current[0]]
        tids = self._source.tids(name)
        kept = {current[0], *tids[: self._pack.keep_revisions], *(t for t in tids if self._is_of_kept_class(name, t))}
        return sorted(tid for tid in kept if tid <= self._pack.tid)

    def _is_of_kept_class(self, name: Oid, tid: Tid) -> bool:
        """Whether this revision, which others follow, is needed to read the object as its class says."""
        if not self._classes or (write := self._source.write(name, tid)) is None or write.data is None:
            return False
        since = self._classes.get(self._class_of(bytes(write.data)) or "")
        current = None if since is None else self._source.current(name, since)
        return since is not None and (current is None or tid >= current[0])

    def _refer(self, write: Write) -> None:
        try:
            self._push(self._references(write))
        except Unreadable:
            data = write.data or b""
            self._unread.append((write.oid, data))
            self._unread_bytes += len(data)
            if len(self._unread) >= _ASKED_AT_ONCE or self._unread_bytes >= _ASKED_BYTES:
                self._resolve()

    def _resolve(self) -> None:
        if self._unread:
            asked, self._unread, self._unread_bytes = self._unread, [], 0
            for names in self._ask(asked):
                self._push(names)
