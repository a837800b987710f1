"""How the workloads' objects are in the end, read by a strict client when the cluster has healed."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import ZODB

from springtide.testing.checkers.everything import Final
from springtide.testing.checkers.history import History, Operation, Outcome
from springtide.testing.workloads.blobs import has_file, reading


def read_final(storage: Any, workloads: Collection[str]) -> Final:
    """Closes ``storage``."""
    db = ZODB.DB(storage)
    try:
        with db.transaction() as connection:
            root = connection.root()
            lists = (
                {str(name): numbers.values for name, numbers in root["lists"].items()}
                if "append" in workloads
                else None
            )
            balances = (
                {name: account.balance for name, account in root["bank"].items()} if "bank" in workloads else None
            )
            transfers = root["transfers"]() if "bank" in workloads else None
            blobs = _blobs(root["files"].values()) if "blob" in workloads else None
            return Final(lists, balances, transfers, blobs)
    finally:
        db.close()


def _blobs(files: Collection[Any]) -> History:
    read = []
    for blob in files:
        blob._p_activate()
        if has_file(blob):
            read.append(reading(blob))
    work = {"kind": "blob", "wrote": [], "read": read}
    return History((Operation("final", "final", "final", 0, Outcome.OK, work=work),))
