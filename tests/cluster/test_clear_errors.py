"""What applications are told when something is not possible: which error, and what it says. The cluster goes on."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import ZODB
from transaction.interfaces import TransientError
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import (
    ConflictError,
    POSError,
    POSKeyError,
    ReadConflictError,
    ReadOnlyError,
    StorageTransactionError,
)
from ZODB.utils import oid_repr, p64, z64

import springtide
from springtide.client.errors import ClusterOutOfSpace, ClusterUnavailable, CommitOutcomeUnknown, TooFewInSync
from springtide.testing.cluster import LocalCluster
from tests.cluster.load import check_equal
from tests.facilities import need

MIB = 2**20


def begin(storage: Any) -> TransactionMetaData:
    metadata = TransactionMetaData()
    storage.tpc_begin(metadata)
    return metadata


def store(storage: Any, oid: bytes, serial: bytes, data: bytes) -> bytes:
    """Commit one record; its tid."""
    metadata = begin(storage)
    try:
        storage.store(oid, serial, data, "", metadata)
        storage.tpc_vote(metadata)
    except BaseException:
        storage.tpc_abort(metadata)
        raise
    tid: bytes = storage.tpc_finish(metadata)
    return tid


@pytest.fixture
def storage(cluster: LocalCluster) -> Iterator[Any]:
    storage = cluster.storage()
    yield storage
    storage.close()


def test_read_only(cluster: LocalCluster, storage: Any) -> None:
    readers = cluster.storage(read_only=True, name="reports")

    for write in (
        readers.new_oid,
        lambda: readers.tpc_begin(TransactionMetaData()),
        lambda: readers.store(p64(1), z64, b"x", "", None),
        lambda: readers.deleteObject(p64(1), z64, None),
        lambda: readers.undo(p64(1), None),
    ):
        with pytest.raises(ReadOnlyError, match="reports was opened read-only"):
            write()
    readers.close()


def test_a_wrong_transaction(storage: Any) -> None:
    metadata, other = begin(storage), TransactionMetaData()

    with pytest.raises(StorageTransactionError, match="called twice for the same transaction"):
        storage.tpc_begin(metadata)
    for call in (
        lambda: storage.store(p64(1), z64, b"x", "", other),
        lambda: storage.tpc_vote(other),
        lambda: storage.tpc_finish(other),
    ):
        with pytest.raises(StorageTransactionError, match="not in progress here"):
            call()
    storage.store(p64(1), z64, b"x", "", metadata)
    with pytest.raises(StorageTransactionError, match="before tpc_vote"):
        storage.tpc_finish(metadata)
    storage.tpc_abort(other)  # which is nobody's
    storage.tpc_abort(metadata)


def test_unknown_and_deleted_objects(storage: Any) -> None:
    oid = storage.new_oid()
    tid = store(storage, oid, z64, b"x")
    metadata = begin(storage)
    storage.deleteObject(oid, tid, metadata)
    storage.tpc_vote(metadata)
    storage.tpc_finish(metadata)

    for unknown in (oid, p64(2**40)):
        with pytest.raises(POSKeyError, match=oid_repr(unknown)):
            storage.load(unknown)
    with pytest.raises(POSKeyError):
        storage.loadSerial(oid, p64(7))
    assert storage.loadBefore(oid, following(tid))[0] == b"x", "what was deleted was there before"


def following(tid: bytes) -> bytes:
    return p64(int.from_bytes(tid) + 1)


def test_a_conflict_names_the_object_and_both_serials(cluster: LocalCluster, storage: Any) -> None:
    oid = storage.new_oid()
    first = store(storage, oid, z64, b"first")
    second = store(storage, oid, first, b"second")

    with pytest.raises(ConflictError) as conflict:
        store(storage, oid, first, b"too late")
    metadata = begin(storage)
    storage.checkCurrentSerialInTransaction(oid, first, metadata)
    with pytest.raises(ReadConflictError) as read_conflict:
        storage.tpc_vote(metadata)
    storage.tpc_abort(metadata)

    for raised in (conflict, read_conflict):
        assert raised.value.oid == oid
        assert raised.value.serials == (second, first)
        assert oid_repr(oid) in str(raised.value)
        assert isinstance(raised.value, TransientError)
    assert storage.load(oid) == (b"second", second)


def test_deadlines_and_too_few_members() -> None:
    """Reads go on with one node of three; commits wait, then say why, and are retryable."""
    with LocalCluster(3, settings={"vote_wait_seconds": 2.0}) as cluster:
        _too_few_members(cluster)


def _too_few_members(cluster: LocalCluster) -> None:
    impatient = cluster.storage(timeout=20.0)
    oid = impatient.new_oid()
    tid = store(impatient, oid, z64, b"x")
    others = [node for node in cluster.nodes if node != cluster.primary()]
    for node in others:
        cluster.kill(node)

    assert impatient.load(oid) == (b"x", tid)
    with pytest.raises(TooFewInSync) as refused:
        store(impatient, oid, tid, b"y")
    assert isinstance(refused.value, TransientError) and isinstance(refused.value, POSError)
    assert "commits wait" in str(refused.value) and "in sync" in str(refused.value)

    for node in others:
        cluster.start(node)
    cluster.wait_in_sync()
    assert impatient.load(oid)[0] == b"x"
    store(impatient, oid, tid, b"z")
    impatient.close()


def test_nobody_there(cluster: LocalCluster) -> None:
    began = time.monotonic()

    with pytest.raises(ClusterUnavailable, match="check the addresses and that the nodes run") as raised:
        springtide.ClusterStorage("127.0.0.1:1", timeout=1.0)

    assert "127.0.0.1:1" in str(raised.value)
    assert time.monotonic() - began < 10


def test_an_outcome_that_nobody_can_tell(cluster: LocalCluster, storage: Any) -> None:
    """All nodes die with a finish under way. It is no transient error, and can be asked about later."""
    oid = storage.new_oid()
    hurried = cluster.storage(finish_timeout=2.0)
    followers = [node for node in cluster.nodes if node != cluster.primary()]
    metadata = begin(hurried)
    hurried.store(oid, z64, b"x", "", metadata)
    hurried.tpc_vote(metadata)
    for node in followers:
        cluster.pause(node)

    with pytest.raises(CommitOutcomeUnknown, match=r"storage\.outcome") as raised:
        hurried.tpc_finish(metadata)
    assert not isinstance(raised.value, TransientError)

    for node in followers:
        cluster.resume(node)
    cluster.wait_in_sync()
    tid = hurried.outcome(raised.value.transaction_id)
    if tid is None:
        with pytest.raises(POSKeyError):
            hurried.load(oid)
    else:
        assert hurried.loadSerial(oid, tid) == b"x"
    hurried.close()


# -- a full disk ------------------------------------------------------------------------------------


@pytest.fixture(params=["primary", "replica"])
def small_disk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[LocalCluster, str, Path]]:
    """A cluster, of which one node has a disk of 160 MiB: the node, and its directory."""
    directory = tmp_path / "cluster"
    mounted = directory / "a"
    mounted.mkdir(parents=True)
    mount = ["mount", "-t", "tmpfs", "-o", "size=160m", "springtide-test", str(mounted)]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    need(done.returncode == 0, f"a small disk cannot be mounted: {done.stderr.strip()}; run as root")
    try:
        with LocalCluster(3, directory=directory) as cluster:
            if (cluster.primary() == "a") != (request.param == "primary"):
                with cluster.admin() as admin:
                    _hand_over(cluster, admin, "a" if request.param == "primary" else "b")
                cluster.wait_in_sync()
            yield cluster, "a", mounted
    finally:
        subprocess.run(["umount", "--lazy", str(mounted)], check=True)


def _hand_over(cluster: LocalCluster, admin: Any, to: str) -> None:
    from springtide.wire.v1 import admin_pb2

    admin.call(cluster.address(cluster.primary()), "HandOver", admin_pb2.HandOverRequest(to=to), 30)


@pytest.mark.timeout(180)
def test_a_full_disk_is_refused_at_vote_and_what_comes_after_it_works(
    small_disk: tuple[LocalCluster, str, Path],
) -> None:
    cluster, node, disk = small_disk
    storage, other = cluster.storage(), cluster.storage()
    oid = storage.new_oid()
    tid = store(storage, oid, z64, b"before")
    before = {n: cluster.logs(n, 5) for n in cluster.nodes}
    free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
    ballast = disk / "ballast"
    ballast.write_bytes(b"\0" * (free - 66 * MIB))

    _until_known(storage, oid, tid)
    for client in (storage, other):  # the second one finds no lock that the first one left
        with pytest.raises(ClusterOutOfSpace, match=f"the disk of node {node} has .* bytes left") as raised:
            store(client, oid, tid, b"n" * MIB)
        assert "min_free_bytes" in str(raised.value) and "free space there" in str(raised.value)
        assert not isinstance(raised.value, TransientError)
    assert other.load(oid) == (b"before", tid)
    assert all(cluster.running(n) for n in cluster.nodes), before

    ballast.unlink()
    deadline = time.monotonic() + 30
    while True:
        try:
            tid = store(storage, oid, tid, b"after" * MIB)
            break
        except ClusterOutOfSpace:  # the member tells its headroom with its next acknowledgement
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert other.loadSerial(oid, tid) == b"after" * MIB
    check_equal(cluster)
    storage.close()
    other.close()


def _until_known(storage: Any, oid: bytes, tid: bytes) -> None:
    """The primary hears of its members' disks with their acknowledgements: until it has."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        metadata = begin(storage)
        try:
            storage.store(oid, tid, b"n" * MIB, "", metadata)
            storage.tpc_vote(metadata)
        except ClusterOutOfSpace:
            return
        finally:
            storage.tpc_abort(metadata)
        time.sleep(0.1)
    raise AssertionError("the primary does not hear of the full disk")


def test_a_database_that_only_grows_stops_before_the_disk_is_full(small_disk: tuple[LocalCluster, str, Path]) -> None:
    cluster, node, disk = small_disk
    db = ZODB.DB(cluster.storage())
    acknowledged = 0
    with pytest.raises(ClusterOutOfSpace, match=f"node {node}"):
        while True:
            with db.transaction() as connection:
                connection.root()[acknowledged] = os.urandom(MIB)
            acknowledged += 1

    stat = os.statvfs(disk)
    assert stat.f_bavail * stat.f_frsize > 16 * MIB, "what was reserved is there"
    with db.transaction() as connection:
        assert len(connection.root()) == acknowledged, "nothing that was acknowledged is missing, and it can be read"
    assert cluster.running(node)
    db.close()
