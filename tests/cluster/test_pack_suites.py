"""ZODB's own suites for packing, against a live cluster of three processes, plain and through ``hexstorage``."""

from __future__ import annotations

import unittest
from collections.abc import Callable
from typing import Any

import pytest
from ZODB.tests.PackableStorage import IExternalGC_suite, PackableStorageWithOptionalGC, PackableUndoStorage

from springtide.testing.cluster import LocalCluster
from tests.cluster.test_undo_suites import Hex, OnHex
from tests.cluster.test_zodb_suites import OnCluster, with_checks


class Packs(PackableStorageWithOptionalGC, PackableUndoStorage):
    #: The decorator fakes the clock of this process, and the tids are the nodes'. Without it the
    #: test does the same in real time.
    testPackUndoLog = PackableUndoStorage.testPackUndoLog.__wrapped__


@pytest.mark.timeout(300)
@with_checks
class TestPlain(OnCluster, Packs):
    store = "embedded"


@pytest.mark.timeout(300)
@with_checks
class TestThroughHexStorage(OnHex, Packs):
    """The nodes cannot read these records: they ask the client that packs what they refer to."""

    store = "embedded"


class HexWithoutGc(Hex):
    def pack(self, pack_time: float, referencesf: Any, gc: bool = False) -> None:
        """ZODB/tests/hexstorage.py:65 asks for garbage collection where nobody did, whatever the storage is told."""
        super().pack(pack_time, referencesf, gc)


@pytest.mark.timeout(120)
@pytest.mark.parametrize("wrap", [lambda storage: storage, HexWithoutGc], ids=["plain", "hex"])
def test_the_suite_for_external_garbage_collectors(cluster: LocalCluster, wrap: Callable[[Any], Any]) -> None:
    suite = IExternalGC_suite(lambda: wrap(cluster.storage(blob_dir="blobs", pack_gc=False)))
    result = unittest.TestResult()
    suite.run(result)

    assert result.testsRun == 1
    assert not result.errors + result.failures, (result.errors + result.failures)[0][1]
