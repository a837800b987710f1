"""ZODB's own suites against a live cluster of three processes. Nothing is skipped or edited."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest
from ZODB.tests.BasicStorage import BasicStorage
from ZODB.tests.MTStorage import MTStorage
from ZODB.tests.StorageTestBase import StorageTestBase
from ZODB.tests.Synchronization import SynchronizedStorage

from springtide.testing.cluster import LocalCluster, Store
from tests.cluster.shared import shared
from tests.facilities import ALL

#: Seconds; more than the suites themselves wait for their threads.
PATIENCE = 150.0
SUITES = (BasicStorage, SynchronizedStorage, MTStorage)


def with_checks(case: type) -> type:
    """Have the tests collected that ZODB names ``check...``, too."""
    for name in dir(case):
        if name.startswith("check") and callable(getattr(case, name)):
            setattr(case, f"test_{name}", getattr(case, name))
    return case


class OnCluster(StorageTestBase):
    """The storage of every test is a client of one cluster, which each test finds empty."""

    store: ClassVar[Store]
    nodes: ClassVar[int] = 3
    cluster: LocalCluster

    def setUp(self) -> None:
        super().setUp()
        self.cluster = shared(self.nodes, self.store)
        self._storage = self._new_storage_client()

    def _new_storage_client(self, **options: Any) -> Any:
        # Some tests have 64 storages in one process, switching threads every 5 microseconds: on a busy
        # machine that is slow, and slowness is not what these suites are about.
        return self.cluster.storage(timeout=PATIENCE, finish_timeout=PATIENCE, **options)


@pytest.mark.timeout(300)
@with_checks
class TestEmbedded(OnCluster, BasicStorage, SynchronizedStorage, MTStorage):
    store = "embedded"


if ALL:
    # Otherwise `test_undo_suites.TestBasicThroughHex` shows that the store makes no difference to them.
    @pytest.mark.timeout(300)
    @with_checks
    class TestEtcd(OnCluster, BasicStorage, SynchronizedStorage, MTStorage):
        store = "etcd"

    @pytest.mark.timeout(300)
    @with_checks
    class TestOneNode(OnCluster, BasicStorage, SynchronizedStorage, MTStorage):
        store = "embedded"
        nodes = 1

    @pytest.mark.timeout(300)
    @with_checks
    class TestTwoNodes(OnCluster, BasicStorage, SynchronizedStorage, MTStorage):
        store = "embedded"
        nodes = 2


def test_everything_in_the_suites_is_collected() -> None:
    wanted = {name for suite in SUITES for name in dir(suite) if name.startswith(("test", "check"))}
    assert len(wanted) >= 30
    for name in wanted:
        assert hasattr(TestEmbedded, name if name.startswith("test") else f"test_{name}")
