"""ZODB's own suites for packing, against a live cluster of three processes, plain and through ``hexstorage``."""

from __future__ import annotations

import unittest
from typing import Any

import pytest
import ZODB.tests.hexstorage
from ZODB.tests.PackableStorage import IExternalGC_suite, PackableStorageWithOptionalGC, PackableUndoStorage

from springtide.testing.cluster import LocalCluster
from tests.cluster.test_zodb_suites import OnCluster, with_checks


class Packs(OnCluster, PackableStorageWithOptionalGC, PackableUndoStorage):
    store = "embedded"

    #: The decorator fakes the clock of this process, and the tids are the nodes'. Without it the
    #: test does the same in real time.
    testPackUndoLog = PackableUndoStorage.testPackUndoLog.__wrapped__


@pytest.mark.timeout(300)
@with_checks
class TestPlain(Packs):
    pass


@pytest.mark.timeout(300)
@with_checks
class TestThroughHexStorage(Packs):
    """The nodes cannot read these records: they ask the client that packs what they refer to."""

    def _new_storage_client(self, **options: Any) -> Any:
        return ZODB.tests.hexstorage.HexStorage(super()._new_storage_client(**options))


@pytest.mark.timeout(120)
def test_the_suite_for_external_garbage_collectors() -> None:
    with LocalCluster(3) as cluster:
        suite = IExternalGC_suite(lambda: cluster.storage(blob_dir="blobs", pack_gc=False))
        result = unittest.TestResult()
        suite.run(result)

    assert result.testsRun == 1
    assert not result.errors + result.failures, (result.errors + result.failures)[0][1]
