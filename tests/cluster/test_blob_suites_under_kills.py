"""ZODB's suite for storages with blobs while the primary is killed, or hands over, every moment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests import blob_suite
from tests.cluster.disturber import Disturber
from tests.cluster.live_blobs import Live
from tests.cluster.test_blob_suites import CASES, HEX
from tests.facilities import ALL


@pytest.fixture(scope="module")
def disturber() -> Iterator[Disturber]:
    disturber = Disturber()
    disturber.start()
    yield disturber
    disturber.end()
    assert disturber.events, "nothing was disturbed"


@pytest.fixture(autouse=True)
def _case(disturber: Disturber) -> Iterator[None]:
    disturber.begin(Live.begin())
    yield
    disturber.pause()
    Live.end()


def open_shared(name: str, blob_dir: str) -> Any:
    """The directory's node need not be the primary that packed: it follows, once it runs again.

    ZODB/tests/blob_packing.txt:59 and its like look into the directory as soon as ``pack`` returns.
    """
    storage = Live.open_shared(name, blob_dir)
    cluster, pack = Live.clusters[0], storage.pack

    def pack_everywhere(*arguments: Any, **options: Any) -> None:
        pack(*arguments, **options)
        cluster.wait_in_sync(cluster.nodes)
        packed = cluster.status()["commit"]
        cluster.wait_for("all have packed", lambda s: all(n.get("applied", 0) >= packed for n in s["nodes"]))

    storage.pack = pack_everywhere
    return storage


#: Whose own calls do not allow it, where the directory is a node's.
NOT_HERE = {
    "loadblob_tmpstore": "ZODB/tests/testblob.py:523 closes the storage before it reads a file; where the directory's "
    "node is being started again, it has not given the file its place yet, and a closed storage asks nobody"
}
SHARED = [
    pytest.param(*case.values, id=case.id, marks=pytest.mark.skip(NOT_HERE[case.id])) if case.id in NOT_HERE else case
    for case in blob_suite.cases(
        "Shared", open_shared, test_blob_storage_recovery=True, test_undo=True, test_packing=True
    )
]
PACKING = [case for case in SHARED if case.id == "blob_packing_txt"]
WAYS = (CASES, [case for case in SHARED if case not in PACKING], HEX)
#: Each in all of the ways that `test_blob_suites` has, or in one of them.
HERE = [*CASES, *SHARED, *HEX] if ALL else [WAYS[(n + 1) % 3][n] for n in range(len(CASES))] + PACKING


@pytest.mark.timeout(180)
@pytest.mark.parametrize("case", HERE)
def test_zodbs_suite_under_kills(case: Any) -> None:
    blob_suite.run(case)
