"""ZODB's suites about undo, history and iteration, against a live cluster; and all its suites through HexStorage."""

from __future__ import annotations

from typing import Any

import pytest
from ZODB.tests.BasicStorage import BasicStorage
from ZODB.tests.ConflictResolution import ConflictResolvingStorage, ConflictResolvingTransUndoStorage
from ZODB.tests.hexstorage import HexStorage
from ZODB.tests.HistoryStorage import HistoryStorage
from ZODB.tests.IteratorStorage import ExtendedIteratorStorage, IteratorStorage
from ZODB.tests.MTStorage import MTStorage
from ZODB.tests.PersistentStorage import PersistentStorage
from ZODB.tests.ReadOnlyStorage import ReadOnlyStorage
from ZODB.tests.RevisionStorage import RevisionStorage
from ZODB.tests.Synchronization import SynchronizedStorage
from ZODB.tests.TransactionalUndoStorage import TransactionalUndoStorage

from tests.cluster.test_zodb_suites import OnCluster, with_checks
from tests.facilities import ALL

SUITES = (
    ConflictResolvingStorage,
    ConflictResolvingTransUndoStorage,
    TransactionalUndoStorage,
    RevisionStorage,
    HistoryStorage,
    IteratorStorage,
    ExtendedIteratorStorage,
    PersistentStorage,
    ReadOnlyStorage,
)


class Past(*SUITES):
    use_extension_bytes = True

    def open(self, **options: Any) -> None:
        self._storage = self._new_storage_client(**options)


class Hex(HexStorage):
    def invalidate(self, transaction_id: bytes, oids: Any, version: str = "") -> Any:
        """Without the version that ZODB/tests/hexstorage.py:110 hands on, and MVCCAdapter.invalidate does not take."""
        return self.db.invalidate(transaction_id, oids)


class OnHex(OnCluster):
    """Every record is transformed between the test and the storage, which cannot read it."""

    def _new_storage_client(self, **options: Any) -> Any:
        return Hex(super()._new_storage_client(**options))


@pytest.mark.timeout(300)
@with_checks
class TestPast(OnCluster, Past):
    store = "embedded"


@pytest.mark.timeout(300)
@with_checks
class TestPastThroughHex(OnHex, Past):
    store = "embedded"


@pytest.mark.timeout(300)
@with_checks
class TestBasicThroughHex(OnHex, BasicStorage, SynchronizedStorage, MTStorage):
    store = "etcd"


if ALL:

    @pytest.mark.timeout(300)
    @with_checks
    class TestPastOnEtcd(OnCluster, Past):
        store = "etcd"


@pytest.mark.parametrize("case", [TestPast, TestPastThroughHex])
def test_everything_in_the_suites_is_collected(case: type) -> None:
    wanted = {name for suite in SUITES for name in dir(suite) if name.startswith(("test", "check"))}
    assert len(wanted) >= 45
    for name in wanted:
        assert callable(getattr(case, name if name.startswith("test") else f"test_{name}"))
