"""A follower whose disk fills up while a large transaction comes ahead: only that transaction is refused."""

from __future__ import annotations

import contextlib
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from transaction.interfaces import TransientError
from ZODB.Connection import TransactionMetaData
from ZODB.utils import load_current, p64, z64

from springtide import ClusterStorage
from springtide.client.errors import ClusterOutOfSpace, ClusterUnavailable
from springtide.testing.cluster import LocalCluster
from tests.cluster.load import check_equal, wait_until
from tests.cluster.test_large import Background, commit, until
from tests.facilities import need

MIB = 2**20
SMALL_MIB = 200
FIRST = 10_000_000
RECORDS = [(p64(FIRST + number), os.urandom(MIB)) for number in range(40)]
#: What is left when it is full: enough for others' small commits, too little for these records.
LEFT = 10 * MIB


@pytest.fixture
def follower(tmp_path: Path) -> Iterator[tuple[LocalCluster, Path]]:
    """A cluster whose node a follows, and has a small disk: where that is mounted."""
    directory = tmp_path / "cluster"
    mounted = directory / "a"
    mounted.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={SMALL_MIB}m", "springtide-test", str(mounted)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    need(done.returncode == 0, f"a small disk cannot be mounted: {done.stderr.strip()}; run as root")
    try:
        with LocalCluster(3, directory=directory, settings={"min_free_bytes": MIB}) as cluster:
            if cluster.primary() == "a":
                cluster.kill("a")
                cluster.wait_for("another one leads", lambda s: s["primary"] not in (None, "", "a"))
                cluster.start("a")
            cluster.wait_in_sync()
            yield cluster, mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def free(disk: Path) -> int:
    stat = os.statvfs(disk)
    return stat.f_bavail * stat.f_frsize


def coming(disk: Path) -> int:
    """Bytes of what comes ahead there."""
    found = 0
    for path in (disk / "log").glob("*.new"):
        with contextlib.suppress(FileNotFoundError):
            found = max(found, path.stat().st_size)
    return found


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_only_the_large_transaction_is_refused_and_it_is_committed_when_there_is_room(
    follower: tuple[LocalCluster, Path],
) -> None:
    cluster, disk = follower
    ballast = disk / "ballast"
    with contextlib.closing(cluster.storage(timeout=30)) as storage, Others(cluster) as others:
        epoch, oid = cluster.status()["epoch"], storage.new_oid()
        first = commit(storage, [(oid, b"before")])
        wait_until(
            "its disk fills up in the middle", lambda: refused_in_the_middle(storage, cluster, disk, ballast), 120
        )
        with pytest.raises(ClusterOutOfSpace, match="the disk of node a has"):
            vote(storage)
        before = others.commits
        wait_until("others go on", lambda: others.commits > before + 5)
        wait_until("nothing of it is kept there", lambda: not coming(disk))
        ballast.unlink()

        tid = wait_until("there is room again", lambda: committed(storage), 120)

        assert load_current(storage, oid) == (b"before", first)
        assert load_current(storage, RECORDS[-1][0]) == (RECORDS[-1][1], tid)
        assert cluster.status()["epoch"] == epoch
        assert all(cluster.running(node) for node in cluster.nodes)
    cluster.wait_in_sync()
    check_equal(cluster)


class Others(Background):
    """Somebody else commits small transactions. While the large one is under way, room is kept free for it."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__()
        self._storage = cluster.storage(timeout=60)
        self.commits = 0

    def work(self) -> None:
        with contextlib.closing(self._storage) as storage:
            for _ in self.rounds(0.02):
                with contextlib.suppress(ClusterOutOfSpace):
                    commit(storage, [(storage.new_oid(), b"small")])
                    self.commits += 1


def refused_in_the_middle(storage: ClusterStorage, cluster: LocalCluster, disk: Path, ballast: Path) -> bool:
    """Whether the vote failed because the disk was filled while the body came; then the disk stays full."""
    filling = threading.Thread(target=fill_when_something_comes, args=(cluster, disk, ballast))
    filling.start()
    try:
        vote(storage)
    except (TransientError, ClusterOutOfSpace):
        filling.join()
        assert "cannot be taken in before its vote" in cluster.logs("a")
        return True
    filling.join()
    ballast.unlink()
    return False  # it was too fast


def fill_when_something_comes(cluster: LocalCluster, disk: Path, ballast: Path) -> None:
    until(lambda: coming(disk) > 0)
    cluster.pause("a")  # for less than would make it lost
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        os.posix_fallocate(file.fileno(), 0, max(1, free(disk) - LEFT))
    cluster.resume("a")


def vote(storage: ClusterStorage) -> None:
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    try:
        for oid, data in RECORDS:
            storage.store(oid, z64, data, "", meta)
        storage.tpc_vote(meta)
    finally:
        storage.tpc_abort(meta)


def committed(storage: ClusterStorage) -> bytes | None:
    try:
        return commit(storage, RECORDS)
    except (ClusterOutOfSpace, ClusterUnavailable):
        return None  # the member tells its headroom with its next acknowledgement
