"""A bank: money moves between accounts, and all of them together always hold the same.

Pure. An operation notes as its work ``{"kind": "bank", "total": n, "balances": {account: balance, before its own
transfer}}``; it read all accounts.
"""

from __future__ import annotations

from collections.abc import Mapping

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.history import History
from springtide.testing.checkers.log import FinalLog

KIND = "bank"


def check_bank(
    history: History, log: FinalLog, final: Mapping[str, int] | None = None, transfers: int | None = None
) -> list[Anomaly]:
    """Nobody ever saw another total; nor is there one in the end (``final``), nor another count of transfers."""
    found: list[Anomaly] = []
    total = 0
    operations = history.of(KIND)
    for operation in operations:
        total = operation.work["total"]
        seen = sum(operation.work["balances"].values())
        if seen != total:
            text = f"{operation.id} saw {seen} in all accounts together, not {total}"
            found.append(Anomaly("bank total", text, (operation.id,)))
    if final is not None and total and sum(final.values()) != total:
        found.append(Anomaly("bank total", f"in the end all accounts together hold {sum(final.values())}, not {total}"))
    committed = {logged.token for logged in log.transactions}
    made = sum(bool(operation.writes) and operation.id in committed for operation in operations)
    if transfers is not None and transfers != made:
        text = f"{made} transfers were committed, and the counter that resolves its conflicts says {transfers}"
        found.append(Anomaly("lost count", text))
    return found
