"""Clusters that many tests use, one after the other: a start takes seven times as long as emptying one."""

from __future__ import annotations

import tempfile
from unittest import mock

from springtide.errors import SpringtideError
from springtide.testing.cluster import LocalCluster, Store

#: While they run, tests of ZODB have another one, which they remove.
_TEMPORARY = tempfile.gettempdir()
_running: dict[tuple[int, Store], LocalCluster] = {}


def shared(nodes: int = 3, store: Store = "embedded") -> LocalCluster:
    """A cluster that is empty, and whole whatever the test before did to it. Nobody closes it: it ends with Python.

    One that cannot be made whole again is replaced, so that one test's failure is not the next one's.
    """
    cluster = _running.pop((nodes, store), None)
    if cluster is not None:
        try:
            cluster.reset()
        except SpringtideError as error:
            print(f"a cluster is replaced: {error}")
            cluster.close()
            cluster = None
    if cluster is None:
        cluster = LocalCluster(nodes, store)
        with mock.patch.object(tempfile, "tempdir", _TEMPORARY):
            cluster.__enter__()
    _running[nodes, store] = cluster
    return cluster
