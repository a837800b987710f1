"""A large transaction on its way into the log: a file with the very bytes of its entry's body.

Everything but ``writes`` and ``whole`` blocks, and is called in a thread, one call at a time.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Sequence

from springtide.ahead import Ahead, digested
from springtide.primary.conflicts import Intent, Wanted
from springtide.records import entries, packed
from springtide.records.entries import Transaction, Write
from springtide.records.ids import Oid, Tid, number
from springtide.spool import Spool
from springtide.wire import MESSAGE_BYTES_MAX

#: The head is known last and comes first. What it says arrives in one message, so it is not larger.
_HEAD_BYTES_MAX = MESSAGE_BYTES_MAX + 1024
#: Small writes are joined.
_JOINED_BYTES = 2**20


class Spooled:
    """Invariant: from its begin on the file has writes as an entry has them, ``_count`` of them."""

    def __init__(self, make: Callable[[int], Spool]) -> None:
        self._make = make
        self._spool = make(_HEAD_BYTES_MAX)
        self._count = 0
        self._sealed: Ahead | None = None
        #: The highest oid written.
        self.highest = 0

    def add(self, wanted: Iterable[Wanted]) -> None:
        """Write these behind what is there; read checks are not written. Raises ``NoSpace`` or ``DiskFailed``."""
        joined = _Joined(self._spool)
        for want in wanted:
            if want.intent is not Intent.CHECK:
                self._count += 1
                self.highest = max(self.highest, number(want.oid))
                for part in entries.encode_write(want.write()):
                    joined.write(part)
        joined.flush()

    def seal(self, id: bytes, about: Transaction, count: int, blobs: int) -> Ahead:
        """Everything is here but the tid, and synced from now on, and known by ``id``.

        ``about`` is the transaction without writes, of which it has ``count``, so many of them with ``blobs``.

        Where more were added, those of one object replaced each other: the last one is kept, in the place of the first.
        """
        if self._count != count:
            self._keep_the_last(count)
        head = entries.encode_head(about, count, blobs)
        assert len(head) <= _HEAD_BYTES_MAX, "what a head says came in one message"
        at = self._spool.begin - len(head)
        self._spool.patch(at, head)
        self._sealed = digested(id, self._spool, at)
        self._sealed.settle()
        return self._sealed

    def _keep_the_last(self, count: int) -> None:
        view = self._spool.view(self._spool.begin)
        offsets = packed.scan(view, 0, self._count)
        places: dict[Oid, tuple[int, int]] = {}
        for start, end in itertools.pairwise(offsets):
            places[Oid(bytes(view[start : start + 8]))] = start, end
        assert len(places) == count, "only writes of the same object replace each other"
        self._spool = self._make(_HEAD_BYTES_MAX)
        joined = _Joined(self._spool)
        for start, end in places.values():
            joined.write(view[start:end])
        joined.flush()
        self._count = count

    def writes(self) -> Sequence[Write]:
        """What the transaction writes. After ``seal``."""
        assert self._sealed is not None and self._sealed.transaction is not None, "it is sealed"
        return self._sealed.transaction.writes

    def whole(self, tid: Tid) -> Ahead:
        """The body of the transaction that has this tid. Once, after ``seal``."""
        assert self._sealed is not None, "it is sealed"
        self._sealed.first(tid)
        return self._sealed


class _Joined:
    """Hands on small parts together."""

    def __init__(self, spool: Spool) -> None:
        self._spool = spool
        self._parts: list[bytes | memoryview] = []
        self._size = 0

    def write(self, part: bytes | memoryview) -> None:
        if len(part) >= _JOINED_BYTES:
            self.flush()
            self._spool.write(part)
            return
        self._parts.append(part)
        self._size += len(part)
        if self._size >= _JOINED_BYTES:
            self.flush()

    def flush(self) -> None:
        if self._parts:
            self._spool.write(b"".join(self._parts))
            self._parts, self._size = [], 0
