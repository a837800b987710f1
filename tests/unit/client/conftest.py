from __future__ import annotations

import pytest

from springtide.client.storage import ClusterStorage
from tests.unit.client.fake_node import FakeCluster


@pytest.fixture
def make_cluster():
    made = []

    def make(nodes: int = 1) -> FakeCluster:
        made.append(FakeCluster(nodes))
        return made[-1]

    yield make
    for cluster in made:
        cluster.close()


@pytest.fixture
def cluster(make_cluster):
    return make_cluster()


@pytest.fixture
def connect():
    opened = []

    def make(cluster: FakeCluster, **options) -> ClusterStorage:
        options = {"timeout": 5, "finish_timeout": 5, **options}
        opened.append(ClusterStorage(options.pop("nodes", cluster.addresses), **options))
        return opened[-1]

    yield make
    for storage in opened:
        storage.close()
