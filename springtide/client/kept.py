"""What this process has been told and has seen: in memory, and on the shelf that outlives it.

It has no lock of its own: ``View.lock`` is held by every caller.
"""

from __future__ import annotations

from collections.abc import Sequence

from springtide.client.cache import Cache, Recent, Revision
from springtide.client.messages import Loaded, Purged
from springtide.client.shelf.batch import Change
from springtide.client.shelf.keeper import Keeper, Resume
from springtide.client.shelf.rows import Identity
from springtide.client.shelf.table import Found
from springtide.records.ids import Oid, Tid, previous_tid


class Kept:
    """Invariant: every change through ``seen``, and every pack of ``packs``, has been applied to all of it."""

    def __init__(self, cache_bytes: int, shelf: Keeper | None) -> None:
        self.cache = Cache(cache_bytes)
        self.recent = Recent()
        self.shelf = shelf
        if shelf is not None:
            shelf.in_use = self.cache.is_current
        self.seen: Tid | None = None
        self.packs = 0
        #: How often this began anew: what was read before says nothing about what is read after.
        self.beginnings = 0

    # -- what is told --------------------------------------------------------------------------------

    def restart(self, seen: Tid, packs: int, identity: Identity) -> None:
        """Another history, or the first one: what is in memory says nothing about it."""
        self.cache.clear()
        self._begin(seen, packs, identity)

    def resume(self, resume: Resume) -> None:
        """What is on the shelf counts; what happened since is told next."""
        self._begin(resume.through, resume.packs, resume.identity)

    def _begin(self, seen: Tid, packs: int, identity: Identity) -> None:
        self.seen, self.packs = seen, packs
        self.beginnings += 1
        self.recent.restart(seen)
        if self.shelf is not None:
            self.shelf.begin(identity, seen, packs)

    def change(self, tid: Tid, oids: Sequence[Oid], may_wait: bool, leapt: bool = False) -> None:
        """The next transaction wrote these. ``may_wait``: until the shelf has room. ``leapt``: it, or others before it;
        what was current is known to have been so only when the last one was told.
        """
        if leapt and self.seen is not None:
            self.cache.bound(self.seen, oids)
        else:
            self.cache.invalidate(tid, oids)
        self.recent.add(tid, tuple(oids))
        if self.shelf is not None and self.seen is not None:
            self.shelf.change(self.seen, Change(tid, oids, leapt), self.packs, may_wait)
        self.seen = tid

    def purge(self, purged: Purged) -> None:
        """What a pack did next."""
        self.cache.purge(purged.oids)
        self.cache.packed(purged.superseded)
        if self.shelf is not None and self.seen is not None:
            self.shelf.purge(self.seen, self.packs, purged)
        self.packs = purged.packs

    # -- what is seen ----------------------------------------------------------------------------------

    def loaded(self, loaded: Loaded) -> None:
        """What a node answered, but not if it was read before a pack that is known here: what the pack took
        away would never be told again.
        """
        if loaded.found and self.seen is not None and loaded.packs >= self.packs:
            known = loaded.tid, loaded.next_tid, loaded.as_of
            self._shelve(self.cache.add(loaded.oid, loaded.data, *known, self.recent, self.seen))

    def written(self, oid: Oid, data: bytes, tid: Tid) -> None:
        """What this client committed, after the change was told."""
        self._shelve(self.cache.written(oid, data, tid))

    def fetched(self, found: Found) -> None:
        """What was found on the shelf is like an answer of a node that knew what the shelf knows."""
        if self.seen is not None and not found.doubted and found.packs >= self.packs:
            known = found.tid, found.next_tid, found.as_of
            self.cache.add(found.oid, found.data, *known, self.recent, self.seen)

    def _shelve(self, revision: Revision | None) -> None:
        if self.shelf is not None and revision is not None and self.seen is not None:
            until = revision.until
            as_of = None if until is None else previous_tid(until)
            known = revision.oid, revision.tid, revision.data, revision.next, as_of
            self.shelf.record(self.seen, self.packs, *known)
