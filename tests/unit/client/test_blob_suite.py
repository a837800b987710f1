"""ZODB's suite for blobs, over a cluster in memory: everything but what needs undo and pack."""

from __future__ import annotations

import pytest

from springtide.client.storage import ClusterStorage
from tests import blob_suite
from tests.unit.client.fake_node import FakeCluster

#: The clusters of the running case, by the name of its storage.
_clusters: dict[str, FakeCluster] = {}
_opened: list[ClusterStorage] = []


def _factory(name: str, blob_dir: str) -> ClusterStorage:
    cluster = _clusters.get(name) or _clusters.setdefault(name, FakeCluster())
    _opened.append(ClusterStorage(cluster.addresses, blob_dir=blob_dir, timeout=30))
    return _opened[-1]


@pytest.fixture(autouse=True)
def _closed():
    yield
    for storage in _opened:
        storage.close()
    for cluster in _clusters.values():
        cluster.close()
    _opened.clear()
    _clusters.clear()


#: These two pack.
PACKING = ("packing_with_uncommitted_data_non_undoing", "packing_with_uncommitted_data_undoing")
CASES = blob_suite.cases("Fake", _factory, test_blob_storage_recovery=True, test_undo=False)


@pytest.mark.parametrize("case", [each for each in CASES if each.id not in PACKING])
def test_zodbs_suite(case):
    blob_suite.run(case)


def test_all_of_it_is_here():
    assert len(CASES) == 16
