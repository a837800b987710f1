"""ZODB's suite for storages with blobs, against a live cluster of three processes; copies go to a cluster of one.

It runs with a directory of the client's own, with a node's, and through a wrapper that transforms records. Only with a
node's do packs show in the directory: a client's own is a cache, which keeps what it has until it is full.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import blob_suite
from tests.cluster.live_blobs import Live

CASES = blob_suite.cases("Cluster", Live.open, test_blob_storage_recovery=True, test_undo=True)
#: Once more where files are read in a node's own directory, with the file that looks into it after packs.
SHARED = blob_suite.cases(
    "Shared", Live.open_shared, test_blob_storage_recovery=True, test_undo=True, test_packing=True
)
HEX = blob_suite.cases("Hex", Live.open_hex, test_blob_storage_recovery=True, test_undo=True)


@pytest.fixture(autouse=True)
def _case() -> Iterator[None]:
    Live.begin()
    yield
    Live.end()


@pytest.mark.parametrize("case", [*CASES, *SHARED, *HEX])
def test_zodbs_suite(case: Any) -> None:
    blob_suite.run(case)


def test_all_of_it_is_collected() -> None:
    assert (len(CASES), len(SHARED), len(HEX)) == (21, 22, 21)
