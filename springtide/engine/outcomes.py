"""Which transaction ids are remembered: the table ``commits``.

A row is an id and its tid. Where a pack took the row of the transaction away, from which the
id is found when it is to be forgotten, a second row remembers it: the tid, and its id.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from springtide import errors
from springtide.engine import layout
from springtide.records.forget import Forget
from springtide.records.ids import Tid, TransactionId, next_tid


def remember(txn: Any, commits: Any, id: TransactionId, tid: Tid) -> None:
    """``id`` is committed as ``tid``. Again changes nothing."""
    sealed = layout.seal(id, tid)
    if not txn.put(id, sealed, overwrite=False, db=commits) and txn.get(id, db=commits) != sealed:
        raise errors.Broken("I7", f"transaction {id.hex()} is committed a second time")


def outlive(txn: Any, commits: Any, id: TransactionId, tid: Tid) -> None:
    """The row of the transaction goes before its id is forgotten."""
    if txn.get(id, db=commits) is not None:
        txn.put(tid, layout.seal(tid, id), db=commits)


def forget(txn: Any, commits: Any, transactions: Any, said: Forget) -> None:
    for tid, id in list(_committed(txn, commits, transactions, said.after, said.before)):
        txn.delete(id, db=commits)
        txn.delete(tid, db=commits)


def step(txn: Any, commits: Any, transactions: Any, after: Tid, below: Tid, rows_max: int) -> Forget | None:
    """The next thing to forget: at most ``rows_max`` ids, of transactions below ``below``. None if there is nothing."""
    tids = sorted(tid for tid, _ in _committed(txn, commits, transactions, after, below, rows_max + 1))
    if not tids:
        return None
    return Forget(after, below if len(tids) <= rows_max else next_tid(tids[rows_max - 1]))


def _committed(
    txn: Any, commits: Any, transactions: Any, after: Tid, before: Tid, each_max: int | None = None
) -> Iterator[tuple[Tid, TransactionId]]:
    """Tids and ids of the transactions from ``after`` to ``before``: those whose rows are there, and the others."""
    for table in (transactions, commits):
        found = 0
        cursor = txn.cursor(table)
        more = cursor.set_range(after)
        while more and found != each_max:
            key, value = cursor.item()
            if bytes(key) >= before:
                break
            if table is transactions:
                yield Tid(bytes(key)), layout.decode_transaction_row(bytes(key), value, False).head.id
                found += 1
            elif len(key) == len(after):  # not an id, which chance has put here
                yield Tid(bytes(key)), TransactionId(bytes(layout.unseal("commits", bytes(key), value)))
                found += 1
            more = cursor.next()
