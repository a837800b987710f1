"""Conflict resolution as ZODB does it, in the words of ``commits``."""

from __future__ import annotations

import weakref
from typing import Any

from springtide.records.ids import Oid, Tid


class Resolver:
    """It does not keep the storage alive."""

    def __init__(self, storage: Any) -> None:
        self._storage = weakref.ref(storage)

    def __call__(self, oid: Oid, committed: Tid, serial: Tid, data: bytes, committed_data: bytes) -> bytes:
        storage = self._storage()
        assert storage is not None, "only a storage's own calls resolve conflicts"
        resolved: bytes = storage.tryToResolveConflict(oid, committed, serial, data, committed_data)
        return resolved

    def references(self, data: bytes) -> bytes | None:
        storage = self._storage()
        assert storage is not None, "only a storage's own calls resolve conflicts"
        references: bytes | None = storage._references(data)
        return references
