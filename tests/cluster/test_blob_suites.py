"""ZODB's suite for storages with blobs, against a live cluster of three processes; copies go to a cluster of one."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest

from springtide.testing.cluster import LocalCluster
from tests import blob_suite

PATIENCE = 60.0


class Live:
    """Of the names that a case gives to its storages, the first is opened on the first cluster, and so on."""

    clusters: ClassVar[list[LocalCluster]] = []
    names: ClassVar[list[str]] = []
    opened: ClassVar[list[Any]] = []

    @classmethod
    def open(cls, name: str, blob_dir: str) -> Any:
        if name not in cls.names:
            cls.clusters[len(cls.names)].reset()
            cls.names.append(name)
        cluster = cls.clusters[cls.names.index(name)]
        storage = cluster.storage(blob_dir=blob_dir, timeout=PATIENCE, finish_timeout=PATIENCE)
        cls.opened.append(storage)
        return storage


@pytest.fixture(scope="module", autouse=True)
def _clusters() -> Iterator[None]:
    with LocalCluster(3) as three, LocalCluster(1) as one:
        Live.clusters[:] = [three, one]
        yield


@pytest.fixture(autouse=True)
def _case() -> Iterator[None]:
    Live.names.clear()
    yield
    for storage in Live.opened:
        with contextlib.suppress(Exception):
            storage.close()
    Live.opened.clear()


CASES = blob_suite.cases("Cluster", Live.open, test_blob_storage_recovery=True, test_undo=True)


#: Nodes pack already, clients do not yet ask them to.
PACKING = ("packing_with_uncommitted_data_non_undoing", "packing_with_uncommitted_data_undoing")


@pytest.mark.parametrize("case", [case for case in CASES if case.id not in PACKING])
def test_zodbs_suite(case: Any) -> None:
    blob_suite.run(case)


def test_all_of_it_is_collected() -> None:
    assert len(CASES) == 21
