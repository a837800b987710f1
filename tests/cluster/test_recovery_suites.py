"""ZODB's suite about copying a database: cluster to cluster, FileStorage to cluster, and back."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from ZODB.FileStorage import FileStorage
from ZODB.tests.hexstorage import HexStorage
from ZODB.tests.RecoveryStorage import RecoveryStorage

from tests.cluster.shared import shared
from tests.cluster.test_undo_suites import Hex
from tests.cluster.test_zodb_suites import OnCluster, with_checks
from tests.facilities import ALL


class Recovery(RecoveryStorage):
    def setUp(self) -> None:
        super().setUp()
        self._dst = self._other()

    def tearDown(self) -> None:
        self._dst.close()
        super().tearDown()

    def _other(self) -> Any:
        return FileStorage("other.fs", create=True)


class Counting:
    """A storage whose iterator shows the records that count."""

    def __init__(self, storage: Any) -> None:
        self._storage = storage
        self.loadBlob = getattr(storage, "loadBlob", None)

    def iterator(self) -> Iterator[Any]:
        return map(CountingTransaction, self._storage.iterator())


class CountingTransaction:
    def __init__(self, transaction: Any) -> None:
        self._transaction = transaction

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transaction, name)

    def __iter__(self) -> Iterator[Any]:
        return iter({record.oid: record for record in self._transaction}.values())


@pytest.mark.timeout(300)
@with_checks
class TestClusterToCluster(Recovery, OnCluster):
    store = "embedded"

    def _other(self) -> Any:
        return shared(1).storage()


@pytest.mark.timeout(300)
@with_checks
class TestClusterToFileStorage(Recovery, OnCluster):
    store = "embedded"


@pytest.mark.timeout(300)
@with_checks
class TestFileStorageToCluster(Recovery, OnCluster):
    store = "embedded"

    def setUp(self) -> None:
        super().setUp()
        self._storage, self._dst = self._dst, self._storage

    def compare(self, storage1: Any, storage2: Any) -> None:
        """FileStorage writes a record for each of several undos (FileStorage.py:1134, `_txn_undo_write`), of which
        the last counts, and only its iterator ever shows the others. A cluster keeps one a transaction.
        """
        super().compare(Counting(storage1), storage2)


@pytest.mark.timeout(300)
@with_checks
class TestFileStorageToClusterThroughHex(TestFileStorageToCluster):
    """What FileStorage repeats is not transformed twice, and its records can be read after the copy."""

    def _new_storage_client(self, **options: Any) -> Any:
        return Hex(super()._new_storage_client(**options))


@pytest.mark.timeout(300)
@with_checks
class TestClusterThroughHexToFileStorageThroughHex(Recovery, OnCluster):
    store = "embedded"

    def _new_storage_client(self, **options: Any) -> Any:
        return Hex(super()._new_storage_client(**options))

    def _other(self) -> Any:
        return HexStorage(super()._other())


if ALL:

    @pytest.mark.timeout(300)
    @with_checks
    class TestClusterToClusterOnEtcd(TestClusterToCluster):
        store = "etcd"
