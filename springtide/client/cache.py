"""Records this process has seen, and for which snapshots each of them is the answer.

Bounded in bytes, multi-version, shared by all connections of the process. It has
no lock of its own: ``View.lock`` is held by every caller.

A revision answers ``loadBefore(oid, before)`` for ``tid < before <= until``. The
current one has no ``until``: it answers up to the last tid the client knows, and
is ended by the invalidation of its oid. "No later revision" in an answer of a node
means "through ``as_of``" and no further; where the client has seen later tids by
the time the answer arrives, the revision is current only if the kept invalidations
prove that none of those named its oid.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping

from springtide.records.ids import TID_ZERO, Oid, Tid, next_tid

#: Bytes of memory that one revision takes besides its data, measured roughly.
REVISION_OVERHEAD_BYTES = 300
#: Invalidations kept to place late answers. Answers are late by milliseconds, and
#: 10,000 oids are about 2 MB.
RECENT_TRANSACTIONS_MAX, RECENT_OIDS_MAX = 1_000, 10_000


class Revision:
    """One revision of one object. ``next`` is the tid of the following one, where known."""

    __slots__ = ("data", "dropped", "next", "oid", "tid", "until", "used")

    def __init__(self, oid: Oid, data: bytes, tid: Tid, next_: Tid | None, until: Tid | None) -> None:
        self.oid = oid
        self.data = data
        self.tid = tid
        self.next = next_
        self.until = until
        self.used = False
        self.dropped = False

    @property
    def size(self) -> int:
        return len(self.data) + REVISION_OVERHEAD_BYTES


class Recent:
    """The newest invalidations, without a gap, after ``since``."""

    def __init__(self) -> None:
        self.since = TID_ZERO
        self._transactions: deque[tuple[Tid, tuple[Oid, ...]]] = deque()
        self._last: dict[Oid, Tid] = {}
        self._oids = 0

    def restart(self, since: Tid) -> None:
        self.since = since
        self._transactions.clear()
        self._last.clear()
        self._oids = 0

    def add(self, tid: Tid, oids: tuple[Oid, ...]) -> None:
        self._transactions.append((tid, oids))
        self._oids += len(oids)
        for oid in oids:
            self._last[oid] = tid
        while self._oids > RECENT_OIDS_MAX or len(self._transactions) > RECENT_TRANSACTIONS_MAX:
            self.since, old = self._transactions.popleft()
            self._oids -= len(old)
            for oid in old:
                if self._last.get(oid) == self.since:
                    del self._last[oid]

    def unchanged_since(self, oid: Oid, tid: Tid) -> bool:
        """Whether it is certain that no transaction after ``tid`` changed the object."""
        return tid >= self.since and self._last.get(oid, TID_ZERO) <= tid

    def newest(self, count: int) -> list[tuple[Tid, list[Oid]]]:
        """The last ``count`` transactions, oldest first."""
        kept = list(self._transactions)[-count:] if count > 0 else []
        return [(tid, list(oids)) for tid, oids in kept]


class Cache:
    """Invariant: ``bytes`` is the size of all revisions kept, and at most ``bytes_max``.

    Eviction gives every revision that was used since it was last looked at a second
    chance, so that a hit costs no reordering.
    """

    def __init__(self, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self.bytes = 0
        self.hits = 0
        self.misses = 0
        self.confirmed = 0  # misses for which a node only had to say that what is kept is still true
        self._current: dict[Oid, Revision] = {}
        self._past: dict[Oid, list[Revision]] = {}  # each in the order of tids
        self._order: deque[Revision] = deque()

    def __len__(self) -> int:
        return len(self._current) + sum(map(len, self._past.values()))

    def find(self, oid: Oid, before: Tid, bound: Tid = TID_ZERO) -> Revision | None:
        """The same as ``look``, counted as what somebody wants to read."""
        found = self.look(oid, before, bound)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def look(self, oid: Oid, before: Tid, bound: Tid = TID_ZERO) -> Revision | None:
        """The newest revision before ``before``, if it is known which that is.

        And, if it is not the last before ``bound``, which one follows it.
        """
        found = self._current.get(oid)
        if found is not None and found.tid < before:
            found.used = True
            return found
        for found in reversed(self._past.get(oid, ())):
            if found.tid < before:
                assert found.until is not None
                if before <= found.until and (found.next is not None or found.until >= bound):
                    found.used = True
                    return found
                break
        return None

    def is_current(self, oid: Oid, tid: Tid) -> bool:
        """Whether this revision is kept, and the current one. May be asked without the lock."""
        found = self._current.get(oid)
        return found is not None and found.tid == tid

    def exactly(self, oid: Oid, tid: Tid) -> Revision | None:
        found = self._current.get(oid)
        if found is not None and found.tid == tid:
            return found
        return next((r for r in self._past.get(oid, ()) if r.tid == tid), None)

    def newest(self, oid: Oid, before: Tid) -> Revision | None:
        """The newest revision before ``before`` that is kept: perhaps there are others after it."""
        found = self._current.get(oid)
        if found is not None and found.tid < before:
            return found
        return next((r for r in reversed(self._past.get(oid, ())) if r.tid < before), None)

    def add(
        self, oid: Oid, data: bytes, tid: Tid, next_: Tid | None, as_of: Tid, recent: Recent, last: Tid
    ) -> Revision | None:
        """Keep what a node answered: no revision between ``tid`` and ``next_``, seen at ``as_of``.

        Returns what is kept now, if anything.
        """
        if not self._fits(data):
            return None
        known: Revision | None = self._current.get(oid)
        if known is None or known.tid != tid:
            known = next((r for r in self._past.get(oid, ()) if r.tid == tid), None)
        if known is not None and known.until is None:
            return known
        until = next_
        if until is None and not (as_of >= last or recent.unchanged_since(oid, as_of)):
            until = next_tid(as_of)
        if known is not None:
            assert known.until is not None
            if until is not None:
                if until > known.until:
                    known.until, known.next = until, next_
                return known
            self._drop(known)
        current = self._current.get(oid)
        if until is None and current is not None:
            if current.tid > tid:
                until = next_tid(as_of)  # what is kept is newer: this one was on its way for long
            else:
                self._bound(current, last)  # there may be others between the two
        return self._keep(Revision(oid, data, tid, next_, until))

    def written(self, oid: Oid, data: bytes, tid: Tid) -> Revision | None:
        """Keep what this client committed; its invalidation has been done. Returns what is kept, if anything."""
        if self._fits(data) and oid not in self._current and self.exactly(oid, tid) is None:
            return self._keep(Revision(oid, data, tid, None, None))
        return None

    def invalidate(self, tid: Tid, oids: Collection[Oid]) -> None:
        """The transaction ``tid`` wrote these objects: what was current has ended there."""
        current = self._current
        for oid in oids:
            revision = current.get(oid)
            if revision is not None and revision.tid < tid:
                self._end(revision, tid, tid)

    def bound(self, through: Tid, oids: Collection[Oid]) -> None:
        """These objects have changed after this tid, and it is not known when first."""
        for oid in oids:
            if (revision := self._current.get(oid)) is not None:
                self._bound(revision, through)

    def purge(self, oids: Collection[Oid]) -> None:
        """These objects do not exist any more."""
        for oid in oids:
            for revision in [*self._past.get(oid, ())]:
                self._drop(revision)
            if (current := self._current.get(oid)) is not None:
                self._drop(current)

    def packed(self, through: Tid) -> None:
        """The database was packed to this tid: what something at or below it had replaced is gone."""
        if through == TID_ZERO:
            return
        for revisions in list(self._past.values()):
            for revision in list(revisions):
                if revision.next is not None and revision.next <= through:
                    self._drop(revision)

    def clear(self) -> None:
        self._current.clear()
        self._past.clear()
        self._order.clear()
        self.bytes = 0

    def statistics(self) -> Mapping[str, int]:
        return {
            "bytes": self.bytes,
            "bytes_max": self.bytes_max,
            "revisions": len(self),
            "hits": self.hits,
            "misses": self.misses,
            "confirmed": self.confirmed,
        }

    def _fits(self, data: bytes) -> bool:
        """One huge record should not displace everything else."""
        return len(data) + REVISION_OVERHEAD_BYTES <= self.bytes_max // 4

    def _bound(self, revision: Revision, through: Tid) -> None:
        if revision.tid <= through:
            self._end(revision, next_tid(through), None)
        else:
            self._drop(revision)

    def _end(self, revision: Revision, until: Tid, next_: Tid | None) -> None:
        del self._current[revision.oid]
        revision.until, revision.next = until, next_
        self._place(revision)

    def _place(self, revision: Revision) -> None:
        past = self._past.setdefault(revision.oid, [])
        past.append(revision)
        past.sort(key=lambda r: r.tid)

    def _keep(self, revision: Revision) -> Revision:
        if revision.until is None:
            self._current[revision.oid] = revision
        else:
            self._place(revision)
        self._order.append(revision)
        self.bytes += revision.size
        revision.used = True  # somebody is about to: it must not be the first to go where all others were
        while self.bytes > self.bytes_max:
            self._evict_one()
        revision.used = False
        return revision

    def _evict_one(self) -> None:
        oldest = self._order.popleft()
        if oldest.dropped:
            return
        if oldest.used:
            oldest.used = False
            self._order.append(oldest)
            return
        self._drop(oldest)

    def _drop(self, revision: Revision) -> None:
        """Forget it; its place in the order is passed over later."""
        revision.dropped = True
        self.bytes -= revision.size
        if self._current.get(revision.oid) is revision:
            del self._current[revision.oid]
            return
        past = self._past[revision.oid]
        past.remove(revision)
        if not past:
            del self._past[revision.oid]
