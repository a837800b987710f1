"""The workloads by name, and what each needs in the database."""

from __future__ import annotations

from collections.abc import Collection
from random import Random
from typing import Any, Protocol

import ZODB

from springtide.testing.recording.session import Session
from springtide.testing.workloads.bank import Bank
from springtide.testing.workloads.blobs import Blobs
from springtide.testing.workloads.lists import Lists


class Workload(Protocol):
    """Belongs to one session. ``set_up`` fills an empty root; ``attempt`` is one transaction; returns what it notes."""

    def __init__(self, number: int, chance: Random) -> None: ...
    @classmethod
    def set_up(cls, root: Any) -> None: ...
    def attempt(self, session: Session) -> dict[str, Any]: ...


WORKLOADS: dict[str, type[Workload]] = {"append": Lists, "bank": Bank, "blob": Blobs}


def set_up(storage: Any, workloads: Collection[str] = tuple(WORKLOADS)) -> None:
    """Put what these workloads need into an empty database. Closes ``storage``."""
    db = ZODB.DB(storage)
    try:
        for name in workloads:
            with db.transaction() as connection:
                WORKLOADS[name].set_up(connection.root())
    finally:
        db.close()
