"""Commits of this process that cannot be shown yet, because nobody has told what was committed before them.

It happens where the outcome of a commit was learnt, and then no node could be reached for long. It has no lock of its
own: ``View.lock`` is held by every caller, but for ``writer``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection

from springtide.records.ids import Oid, Tid

log = logging.getLogger(__name__)


class Owed:
    """Invariant: all of these are above the last tid that is shown."""

    def __init__(self) -> None:
        self._commits: dict[Tid, tuple[Callable[[Tid], object], frozenset[Oid]]] = {}

    def add(self, tid: Tid, callback: Callable[[Tid], object], oids: Collection[Oid]) -> None:
        self._commits[tid] = (callback, frozenset(oids))

    def pay(self, through: Tid) -> None:
        """Everything through this tid is shown next: ZODB's callbacks are due. What they raise nobody waits for."""
        for tid in sorted(tid for tid in self._commits if tid <= through):
            callback, _ = self._commits.pop(tid)
            try:
                callback(tid)
            except Exception:
                log.exception("the callback of transaction %s failed, which was committed before", tid.hex())

    def forget(self) -> None:
        self._commits.clear()

    def writer(self, oid: Oid) -> Tid | None:
        """The newest of these that wrote the object. May be asked without the lock."""
        return max((tid for tid, (_, oids) in list(self._commits.items()) if oid in oids), default=None)
