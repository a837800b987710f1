"""A bank: money moves between accounts, and all of them together always hold the same.

Pure. An operation notes as its work ``{"kind": "bank", "total": n, "balances": {account: balance, before its own
transfer}}``; it read all accounts.
"""

from __future__ import annotations

from collections.abc import Mapping

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.history import History

KIND = "bank"


def check_bank(history: History, final: Mapping[str, int] | None = None) -> list[Anomaly]:
    """Nobody ever saw another total; nor is there one in the end (``final``)."""
    found: list[Anomaly] = []
    total = 0
    for operation in history.of(KIND):
        total = operation.work["total"]
        seen = sum(operation.work["balances"].values())
        if seen != total:
            text = f"{operation.id} saw {seen} in all accounts together, not {total}"
            found.append(Anomaly("bank total", text, (operation.id,)))
    if final is not None and total and sum(final.values()) != total:
        found.append(Anomaly("bank total", f"in the end all accounts together hold {sum(final.values())}, not {total}"))
    return found
