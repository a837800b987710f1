"""ZODB's suite for storages with blobs, against a live cluster of three processes; copies go to a cluster of one.

It runs with a directory of the client's own, with a node's, and through a wrapper that transforms records. Only with a
node's do packs show in the directory: a client's own is a cache, which keeps what it has until it is full.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import Any, ClassVar

import pytest
from ZODB.tests.hexstorage import HexStorage

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
        return cls._opened(cls._cluster(name), blob_dir=blob_dir)

    @classmethod
    def open_shared(cls, name: str, blob_dir: str) -> Any:
        """The directory that a case names is the primary's own, under another name."""
        cluster = cls._cluster(name)
        (directory,) = cluster.data(cluster.primary()).rglob("blobs")
        if not os.path.islink(blob_dir):
            os.symlink(directory, blob_dir)
            blob_suite.before_cleaning_up(os.unlink, os.path.abspath(blob_dir))
        return cls._opened(cluster, blob_dir=blob_dir, shared_blob_dir=True)

    @classmethod
    def open_hex(cls, name: str, blob_dir: str) -> Any:
        """What is stored is not what the application wrote: it goes through a wrapper that transforms records."""
        return HexStorage(cls.open(name, blob_dir))

    @classmethod
    def _cluster(cls, name: str) -> LocalCluster:
        """An empty one, where the case has not named it before."""
        if name not in cls.names:
            cls.clusters[len(cls.names)].reset()
            cls.names.append(name)
        return cls.clusters[cls.names.index(name)]

    @classmethod
    def _opened(cls, cluster: LocalCluster, **options: Any) -> Any:
        storage = cluster.storage(timeout=PATIENCE, finish_timeout=PATIENCE, **options)
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


#: Once more where files are read in a node's own directory, with the file that looks into it after packs.
SHARED = blob_suite.cases(
    "Shared", Live.open_shared, test_blob_storage_recovery=True, test_undo=True, test_packing=True
)
HEX = blob_suite.cases("Hex", Live.open_hex, test_blob_storage_recovery=True, test_undo=True)


@pytest.mark.parametrize("case", [*CASES, *SHARED, *HEX])
def test_zodbs_suite(case: Any) -> None:
    blob_suite.run(case)


def test_all_of_it_is_collected() -> None:
    assert (len(CASES), len(SHARED), len(HEX)) == (21, 22, 21)
