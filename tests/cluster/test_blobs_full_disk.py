"""A disk that is full, or becomes full while a file comes: said, freed, and the next commit works."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from springtide.testing.cluster import LocalCluster
from tests.cluster import test_clear_errors
from tests.cluster.blob_client import BlobClient, Refused, blob_of, chunks, code, write
from tests.cluster.load import check_equal

MIB = 2**20
OID = bytes(7) + b"\x01"
SECONDS = 60.0

small_disk = test_clear_errors.small_disk


def free(disk: Path) -> int:
    stat = os.statvfs(disk)
    return stat.f_bavail * stat.f_frsize


@pytest.mark.timeout(180)
def test_a_file_for_which_there_is_no_room_is_refused_and_the_next_one_is_not(
    small_disk: tuple[LocalCluster, str, Path],
) -> None:
    cluster, node, disk = small_disk
    content = os.urandom(20 * MIB)
    before = free(disk)
    ballast = disk / "ballast"
    ballast.write_bytes(bytes(before - 70 * MIB))

    with BlobClient(cluster.address(cluster.primary())) as client:
        deadline, refused = time.monotonic() + SECONDS, None
        while refused is None or refused.code != code("CODE_NO_SPACE"):
            assert time.monotonic() < deadline, "the primary hears of its members' disks in a moment"
            blob, transaction = blob_of(content), os.urandom(24)
            try:
                client.store(blob, chunks(content), transaction=transaction)
                client.vote(transaction, [write(OID, blob)])
            except Refused as error:
                refused = error
            client.abort(transaction)
        assert f"node {node}" in refused.message and "free space there" in refused.message
        ballast.unlink()

        tid = commit_when_there_is_room(client, content)

        assert client.fetch(OID, tid).size == len(content)
    assert all(cluster.running(each) for each in cluster.nodes)
    check_equal(cluster)


@pytest.mark.timeout(180)
@pytest.mark.parametrize("small_disk", ["primary"], indirect=True)
def test_a_disk_that_fills_up_while_a_file_comes_keeps_nothing_of_it(
    small_disk: tuple[LocalCluster, str, Path],
) -> None:
    cluster, node, disk = small_disk
    content = os.urandom(20 * MIB)
    ballast = disk / "ballast"

    def filling() -> Iterator[bytes]:
        for number, part in enumerate(chunks(content)):
            if number == 5:
                with ballast.open("wb") as file:
                    while room := free(disk):
                        file.write(bytes(min(room, MIB)))
                        file.flush()
            yield part

    with BlobClient(cluster.address(node)) as client:
        blob = blob_of(content)
        with pytest.raises(Refused) as refused:
            client.store(blob, filling())
        assert refused.value.code == code("CODE_NO_SPACE")
        ballast.unlink()
        assert client.held(blob) == 0

        tid = commit_when_there_is_room(client, content)

        assert client.fetch(OID, tid).size == len(content)
    check_equal(cluster)


def commit_when_there_is_room(client: BlobClient, content: bytes) -> bytes:
    """The primary hears of a member's disk with its next acknowledgement."""
    deadline = time.monotonic() + SECONDS
    while True:
        try:
            return client.commit(OID, content)
        except Refused as error:
            assert error.code == code("CODE_NO_SPACE") and time.monotonic() < deadline
            time.sleep(0.1)
