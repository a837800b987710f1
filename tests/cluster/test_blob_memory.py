"""A large blob passes through all processes in pieces: none of them grows by more than 64 MB."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from springtide.testing.cluster import LocalCluster
from tests.cluster import blob_process
from tests.cluster.load import check_equal
from tests.facilities import ALL

GROWN_BYTES_MAX = 64 * 2**20
SIZES = [256 * 2**20, *([2 * 2**30 + 1] if ALL else [])]


def client(cluster: LocalCluster, blob_dir: Path, *words: str) -> dict[str, Any]:
    command = [sys.executable, blob_process.__file__, ",".join(cluster.addresses), str(blob_dir), *words]
    ended = subprocess.run(command, stdout=subprocess.PIPE, timeout=500, check=True)
    answer: dict[str, Any] = json.loads(ended.stdout)
    return answer


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("size", SIZES)
def test_a_large_blob_raises_the_memory_of_no_process(
    size: int, tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    with LocalCluster(3) as cluster:
        client(cluster, tmp_path / "first", "write", "1000000")  # what nodes need for blobs at all
        cluster.reset()
        pids = {node: cluster._processes[node].pid for node in cluster.nodes}
        had = {node: blob_process.peak_reset(pid or 0) for node, pid in pids.items()}

        written = client(cluster, tmp_path / "writer", "write", str(size))
        read = client(cluster, tmp_path / "reader", "read", written["tid"])
        check_equal(cluster)  # which digests the files, too

        grown = {node: blob_process.peak(pid or 0) - had[node] for node, pid in pids.items()}
    assert read["digest"] == written["digest"]
    grown |= {"writer": written["grown"], "reader": read["grown"]}
    told = ", ".join(f"{name} {bytes / 2**20:.0f} MB" for name, bytes in grown.items())
    record_property("measured", f"memory for a blob of {size / 2**20:.0f} MB: {told}")
    assert max(grown.values()) <= GROWN_BYTES_MAX, told
