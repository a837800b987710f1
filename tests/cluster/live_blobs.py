"""What ZODB's suite for storages with blobs opens: storages on live clusters, in one of three ways."""

from __future__ import annotations

import contextlib
import os
from typing import Any, ClassVar

from ZODB.tests.hexstorage import HexStorage

from springtide.testing.cluster import LocalCluster
from tests import blob_suite
from tests.cluster.shared import shared

PATIENCE = 60.0


class Live:
    """Of the names that a case gives to its storages, the first is opened on three nodes, the second on one."""

    clusters: ClassVar[list[LocalCluster]] = []
    names: ClassVar[list[str]] = []
    opened: ClassVar[list[Any]] = []

    @classmethod
    def begin(cls) -> LocalCluster:
        """Before each case: the cluster that its first storage is opened on, empty."""
        cls.clusters[:] = [shared()]
        return cls.clusters[0]

    @classmethod
    def end(cls) -> None:
        for storage in cls.opened:
            with contextlib.suppress(Exception):
                storage.close()
        for each in (cls.opened, cls.names, cls.clusters):
            each.clear()

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
        if name not in cls.names:
            cls.names.append(name)
        if len(cls.names) > len(cls.clusters):
            cls.clusters.append(shared(1))
        return cls.clusters[cls.names.index(name)]

    @classmethod
    def _opened(cls, cluster: LocalCluster, **options: Any) -> Any:
        storage = cluster.storage(timeout=PATIENCE, finish_timeout=PATIENCE, **options)
        cls.opened.append(storage)
        return storage
