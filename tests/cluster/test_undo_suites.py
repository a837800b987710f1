"""ZODB's suites about undo, history, iteration and copies, against a live cluster of three processes."""

from __future__ import annotations

from typing import Any

import pytest
from ZODB.tests.ConflictResolution import ConflictResolvingStorage, ConflictResolvingTransUndoStorage
from ZODB.tests.HistoryStorage import HistoryStorage
from ZODB.tests.IteratorStorage import ExtendedIteratorStorage, IteratorStorage
from ZODB.tests.PersistentStorage import PersistentStorage
from ZODB.tests.ReadOnlyStorage import ReadOnlyStorage
from ZODB.tests.RevisionStorage import RevisionStorage
from ZODB.tests.TransactionalUndoStorage import TransactionalUndoStorage

from tests.cluster.test_zodb_suites import OnCluster, with_checks


class Past(
    ConflictResolvingStorage,
    ConflictResolvingTransUndoStorage,
    TransactionalUndoStorage,
    RevisionStorage,
    HistoryStorage,
    IteratorStorage,
    ExtendedIteratorStorage,
    PersistentStorage,
    ReadOnlyStorage,
):
    use_extension_bytes = True

    # These pack, and packing is not here yet.
    testPackAfterUndoDeletion = None
    testPackAfterUndoManyTimes = None
    testTransactionalUndoAfterPack = None
    testTransactionalUndoAfterPackWithObjectUnlinkFromRoot = None

    def open(self, **options: Any) -> None:
        self._storage = self._new_storage_client(**options)


@pytest.mark.timeout(300)
@with_checks
class TestPast(OnCluster, Past):
    store = "embedded"
