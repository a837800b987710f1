"""ZODB's own suites, over a cluster in memory."""

from __future__ import annotations

import pytest
from ZODB.tests import (
    BasicStorage,
    ConflictResolution,
    IteratorStorage,
    MTStorage,
    StorageTestBase,
    Synchronization,
)

from springtide.client.storage import ClusterStorage
from tests.unit.client.fake_node import FakeCluster


class Suite(StorageTestBase.StorageTestBase):
    nodes = 1

    def setUp(self):
        super().setUp()
        self.cluster = FakeCluster(self.nodes)
        self.addCleanup(self.cluster.close)
        self._storage = self._new_storage_client()

    def _new_storage_client(self):
        storage = ClusterStorage(self.cluster.addresses, timeout=30, finish_timeout=30)
        self.addCleanup(storage.close)
        return storage


@pytest.mark.slow
class TestOneNode(
    Suite,
    BasicStorage.BasicStorage,
    MTStorage.MTStorage,
    Synchronization.SynchronizedStorage,
    ConflictResolution.ConflictResolvingStorage,
    IteratorStorage.IteratorStorage,
):
    use_extension_bytes = True

    def test_resolved_conflicts(self):
        self.checkResolve()


@pytest.mark.slow
class TestThreeNodes(Suite, BasicStorage.BasicStorage, MTStorage.MTStorage):
    nodes = 3
    # 64 clients of three nodes that are threads of one process would only measure the machine;
    # tests/cluster runs this one with real nodes.
    test_race_external_invalidate_vs_disconnect = None
