"""How far the log is committed and applied, and what lies between, decoded.

Owned by the loop. Invariant: applied <= committed, and ``_decoded`` holds exactly the
synced entries above the commit point.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from springtide import errors
from springtide.engine.meta import Meta
from springtide.engine.overlay import Overlay
from springtide.engine.values import Committed, Decoded
from springtide.records.ids import Tid


class CommitPoint:
    def __init__(self, meta: Meta, overlay: Overlay, decoded: Sequence[Decoded]) -> None:
        """``decoded`` is what the log holds above what the state has applied."""
        self._overlay = overlay
        self._decoded = {one.lsn: one for one in decoded}
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []
        self.committed = self.applied = meta.applied.lsn
        self.last_oid, self.forgotten = meta.last_oid, meta.forgotten

    def reset(self, meta: Meta) -> None:
        self._overlay.reset(meta.applied_tid)
        self._decoded.clear()
        self.committed = self.applied = meta.applied.lsn
        self.last_oid, self.forgotten = meta.last_oid, meta.forgotten

    def synced(self, decoded: Sequence[Decoded]) -> None:
        for one in decoded:
            self._decoded[one.lsn] = one

    def cut(self, keep_lsn: int) -> None:
        if keep_lsn < self.committed:
            raise errors.Broken("R8", f"the log would be cut to {keep_lsn}, and {self.committed} is committed")
        for lsn in [lsn for lsn in self._decoded if lsn > keep_lsn]:
            del self._decoded[lsn]

    def commit(self, lsn: int) -> tuple[list[Decoded], list[Committed]]:
        """Visible from now on: the entries through ``lsn`` that were not, to be applied and to be told.

        Raises ``Damaged`` where they cannot follow what is committed.
        """
        decoded = [self._decoded[n] for n in range(self.committed + 1, lsn + 1)]
        self._check(decoded)
        if decoded:
            for one in decoded:
                del self._decoded[one.lsn]
            self._overlay.add(decoded)
            self.committed = lsn
            self.last_oid = max(self.last_oid, *(one.highest_oid for one in decoded))
            # Before anything of it is applied: what is not found from now on may have been forgotten.
            said = [one.forget.before for one in decoded if one.forget is not None]
            self.forgotten = max([self.forgotten, *said])
        return decoded, [
            Committed(one.lsn, one.entry.epoch, one.entry.kind, one.transaction, one.pack) for one in decoded
        ]

    def _check(self, decoded: Sequence[Decoded]) -> None:
        """What was appended while a copy came in could not be compared with it: its tids were not known yet."""
        first = next((one for one in decoded if one.transaction is not None), None)
        if first is not None and first.transaction is not None and first.transaction.tid <= self._overlay.through.tid:
            raise errors.Damaged(
                f"the entry with lsn {first.lsn} has tid {first.transaction.tid.hex()}, "
                f"but tid {self._overlay.through.tid.hex()} is committed before it: log and state do not agree"
            )

    def above(self, lsn: int) -> list[Decoded]:
        """What is synced, not committed, and above ``lsn``."""
        return [one for number, one in self._decoded.items() if number > lsn]

    def newest_tid(self) -> Tid:
        """Of the last transaction in the log."""
        tids = [one.transaction.tid for one in self._decoded.values() if one.transaction is not None]
        return max(tids, default=self._overlay.through.tid)

    def applied_through(self, lsn: int) -> None:
        self.applied = lsn
        ready = [waiting for wanted, waiting in self._waiting if wanted <= lsn]
        self._waiting = [(wanted, waiting) for wanted, waiting in self._waiting if wanted > lsn]
        for waiting in ready:
            if not waiting.done():
                waiting.set_result(None)

    async def until_applied(self, lsn: int) -> None:
        if self.applied < lsn:
            waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append((lsn, waiting))
            await waiting

    def fail(self, error: Exception) -> None:
        """Nothing more will be applied: those who wait for it learn why."""
        for _, waiting in self._waiting:
            if not waiting.done():
                waiting.set_exception(error)
        self._waiting = []
