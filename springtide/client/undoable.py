"""What ZODB calls of a storage that can undo, that knows histories, and that can be walked over."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from springtide.client.past import Description, Filter, Histories, specified, undone_tid
from springtide.client.transactions import Transactions
from springtide.client.walk import Step, Walk
from springtide.client.writable import Writable
from springtide.records.ids import Oid


class Undoable(Writable):
    _histories: Histories
    _transactions: Transactions
    _walk: Walk

    def supportsUndo(self) -> bool:
        return True

    def undo(self, transaction_id: bytes, transaction: Any) -> tuple[None, Sequence[Oid]]:
        """Raises UndoError; one that is only found out at the vote is raised there."""
        self._writable()
        return None, self._transactions.undo(transaction, undone_tid(transaction_id))

    def undoLog(self, first: int = 0, last: int = -20, filter: Filter | None = None) -> list[Description]:
        return self._histories.undo_log(first, last, filter)

    def undoInfo(
        self, first: int = 0, last: int = -20, specification: Mapping[str, Any] | None = None
    ) -> list[Description]:
        return self._histories.undo_log(first, last, specified(specification))

    def history(self, oid: Oid, size: int = 1, filter: Filter | None = None) -> list[Description]:
        """``size`` of each is that of its record, also where it repeats an earlier one (FileStorage says 0)."""
        return self._histories.history(oid, size, filter)

    def record_iternext(self, next: Oid | None = None) -> Step:
        """The first object that exists from oid ``next`` on, with its current record, and the oid after it.

        Each call says what is current then: objects are looked at one after the other, not as of one moment.
        Raises POSKeyError where there is none.
        """
        return self._walk.step(next)
