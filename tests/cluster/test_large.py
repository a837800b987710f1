"""Transactions too large for memory: on disk wherever they are, all of each or nothing."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError
from ZODB.utils import load_current, p64, u64, z64

from springtide import ClusterStorage
from springtide.client.errors import RecordTooLarge
from springtide.spool import SPOOLED_FROM
from springtide.testing.cluster import LocalCluster
from tests.cluster.load import check_equal, wait_until
from tests.facilities import ALL

OBJECTS = 200_000
MIB = 2**20
#: The largest that a cluster takes by default, where there is time for it.
TOTAL = 1024 * MIB if ALL else 256 * MIB
KILLED = 128 * MIB
FIRST = 10_000_000
#: Anonymous memory that a transaction may take of any process, for what is not the file cache's: a few buffers,
#: what is known of each object (its locks and serials), and twice the largest record, encoded and in LMDB.
BUFFERS, OBJECT = 128 * MIB, 1024
#: What others wait at most on a loaded machine, nodes and their disks on one of them.
PATIENCE_SECONDS = 10


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_64_mb_record_and_a_transaction_of_200_000_objects() -> None:
    record = os.urandom(64 * MIB)
    with LocalCluster(3) as cluster, contextlib.closing(cluster.storage()) as storage:
        large = commit(storage, [(p64(1), record)])
        many = commit(storage, [(p64(number), b"object %d" % number) for number in range(10, 10 + OBJECTS)])

        for node in cluster.nodes:
            with contextlib.closing(ClusterStorage([cluster.address(node)], balance_reads=False)) as reader:
                assert load_current(reader, p64(1)) == (record, large)
                for number in (10, OBJECTS // 2, OBJECTS + 9):
                    assert load_current(reader, p64(number)) == (b"object %d" % number, many)
        first, second = storage.iterator()
        assert [(r.oid, r.data) for r in first] == [(p64(1), record)]
        assert sum(1 for _ in second) == OBJECTS
        assert u64(storage.new_oid()) > OBJECTS + 9, "oids that an application chose are not given out again"
        check_equal(cluster)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("count", [16, 100_000])
def test_a_large_transaction_takes_little_memory_and_others_go_on(
    count: int, record_property: Callable[[str, object], None]
) -> None:
    size = TOTAL // count
    with LocalCluster(3) as cluster, contextlib.closing(cluster.storage(finish_timeout=300)) as storage:
        pids = {node: cluster._processes[node].pid for node in cluster.nodes} | {"client": os.getpid()}
        for number in range(20):
            commit(storage, [(p64(number + 1), b"small")])
        made = Records(size)
        gc.collect()
        epoch = cluster.status()["epoch"]

        with Watched(pids) as memory, Others(cluster) as others:
            meta = TransactionMetaData()
            storage.tpc_begin(meta)
            for number in range(count):
                storage.store(p64(FIRST + number), z64, made[number], "", meta)
            storage.tpc_vote(meta)
            before_the_finish, others.worst = others.worst, 0.0
            tid = storage.tpc_finish(meta)
            wait_until("everything is applied, and no node keeps the transaction", lambda: not held(cluster), 300)

        bound = BUFFERS + OBJECT * count + 2 * size
        record_property(
            "measured",
            f"{count:,} records of {size:,} bytes: anonymous memory rose by at most "
            f"{', '.join(f'{rise // MIB} MiB ({name})' for name, rise in memory.rises().items())}; others' commits "
            f"took {before_the_finish:.2f} s at most until its vote ended, then {others.worst:.2f} s",
        )
        assert {name: rise for name, rise in memory.rises().items() if rise > bound} == {}
        assert cluster.status()["epoch"] == epoch, "nobody took the primary for lost"
        assert others.commits > 0 and before_the_finish < PATIENCE_SECONDS
        assert others.worst < PATIENCE_SECONDS, "what is finished behind it waits for no body"
        for number in (0, count // 2, count - 1):
            assert load_current(storage, p64(FIRST + number)) == (made[number], tid)
        check_equal(cluster)


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("when", ["arriving", "replicated"])
def test_kill_9_of_the_primary_in_the_middle_leaves_all_or_nothing(when: str) -> None:
    made = Records(4 * MIB)
    numbers = range(KILLED // made.size)
    with LocalCluster(3) as cluster, contextlib.closing(cluster.storage(timeout=120)) as storage:
        commit(storage, [(p64(1), b"small")])
        primary = cluster.primary()
        replica = next(node for node in cluster.nodes if node != primary)
        seen = primary if when == "arriving" else replica

        with Committing(storage, [(p64(FIRST + n), made[n]) for n in numbers]) as large:
            until(lambda: spooled(cluster, seen) > KILLED // 4 or large.ended)
            assert not large.ended, "it is in the middle"
            cluster.kill(primary)
            tid = large.result()  # the client finds out, and commits it where it had come to nothing

        check_whole(storage, numbers, made, tid)
        cluster.start(primary)
        check_equal(cluster)
        wait_until("no node keeps anything of it", lambda: not held(cluster))
        assert len(storage.undoLog(0, 10)) == 2, "it is committed once"


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_client_that_is_lost_in_the_middle_leaves_nothing() -> None:
    made = Records(4 * MIB)
    with LocalCluster(3) as cluster:
        storage = cluster.storage()
        commit(storage, [(p64(1), b"small")])
        meta = TransactionMetaData()
        storage.tpc_begin(meta)
        for number in range(16):
            storage.store(p64(FIRST + number), z64, made[number], "", meta)
        storage.tpc_vote(meta)
        assert spooled(cluster, cluster.primary()) >= 16 * made.size
        storage.close()

        wait_until("its space is free", lambda: not held(cluster))
        with contextlib.closing(cluster.storage()) as other:
            with pytest.raises(POSKeyError):
                load_current(other, p64(FIRST))
            commit(other, [(p64(FIRST), b"x")])


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_follower_that_is_restarted_in_the_middle_ends_up_equal() -> None:
    made = Records(4 * MIB)
    numbers = range(KILLED // made.size)
    with LocalCluster(3) as cluster, contextlib.closing(cluster.storage(timeout=120)) as storage:
        commit(storage, [(p64(1), b"small")])
        replica = next(node for node in cluster.nodes if node != cluster.primary())

        with Committing(storage, [(p64(FIRST + n), made[n]) for n in numbers]) as large:
            until(lambda: spooled(cluster, replica) > KILLED // 4 or large.ended)
            assert not large.ended, "it is in the middle"
            cluster.kill(replica)
            cluster.start(replica)
            tid = large.result()

        check_whole(storage, numbers, made, tid)
        check_equal(cluster)


@pytest.mark.timeout(120)
def test_what_is_above_the_limit_is_refused_with_its_name_and_the_next_one_is_committed() -> None:
    limits = {"record_bytes_max": 12 * MIB, "transaction_bytes_max": 24 * MIB}
    with LocalCluster(1, settings={"limits": limits}) as cluster, contextlib.closing(cluster.storage()) as storage:
        exactly = [(p64(number), bytes(8 * MIB)) for number in range(1, 4)]
        tid = commit(storage, exactly)
        assert load_current(storage, p64(3)) == (bytes(8 * MIB), tid)

        meta = TransactionMetaData()
        storage.tpc_begin(meta)
        for number in range(11, 14):
            storage.store(p64(number), z64, bytes(8 * MIB), "", meta)
        with pytest.raises(RecordTooLarge, match="commit in smaller steps"):
            storage.store(p64(14), z64, b"x", "", meta)
        storage.tpc_abort(meta)
        commit(storage, [(p64(14), b"x")])


# -- words ----------------------------------------------------------------------------------------


class Records:
    """Records of one size, all different."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._block = os.urandom(size - 8)

    def __getitem__(self, number: int) -> bytes:
        return p64(number) + self._block


def commit(storage: ClusterStorage, records: list[tuple[bytes, bytes]]) -> bytes:
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    for oid, data in records:
        storage.store(oid, z64, data, "", meta)
    storage.tpc_vote(meta)
    return bytes(storage.tpc_finish(meta))


def check_whole(storage: ClusterStorage, numbers: range, made: Records, tid: bytes) -> None:
    for number in numbers:
        assert load_current(storage, p64(FIRST + number)) == (made[number], tid)


def spooled(cluster: LocalCluster, node: str) -> int:
    """The bytes of the largest file that a node has open for what is under way: nameless, or to be a segment of the
    log. The one that it writes small entries to does not count."""
    found = 0
    with contextlib.suppress(OSError):
        for link in Path(f"/proc/{cluster._processes[node].pid}/fd").iterdir():
            with contextlib.suppress(OSError):
                where, size = os.readlink(link), link.stat().st_size
                if "/spool/" in where or ("/log/" in where and size > SPOOLED_FROM):
                    found = max(found, size)
    return found


def held(cluster: LocalCluster) -> dict[str, int]:
    return {node: size for node in cluster.nodes if (size := spooled(cluster, node))}


def until(condition: Callable[[], object]) -> None:
    """Like ``wait_until``, for what is soon over."""
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.002)


def anonymous(pid: int) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    raise AssertionError(f"process {pid} has no memory")


class Background:
    """A thread for the length of a ``with`` block."""

    def __init__(self) -> None:
        self.ended = False
        self._stop = threading.Event()
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Any:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()
        if self._error is not None:
            raise self._error

    def _run(self) -> None:
        try:
            self.work()
        except BaseException as error:
            self._error = error
        finally:
            self.ended = True

    def work(self) -> None:
        raise NotImplementedError

    def rounds(self, seconds: float) -> Iterator[None]:
        while not self._stop.wait(seconds):
            yield


class Watched(Background):
    """By how much the anonymous memory of processes rises."""

    def __init__(self, pids: dict[str, int]) -> None:
        super().__init__()
        self._pids = pids
        self._first = self._peak = {name: anonymous(pid) for name, pid in pids.items()}

    def work(self) -> None:
        for _ in self.rounds(0.02):
            self._peak = {name: max(self._peak[name], anonymous(pid)) for name, pid in self._pids.items()}

    def rises(self) -> dict[str, int]:
        return {name: peak - self._first[name] for name, peak in self._peak.items()}


class Others(Background):
    """Somebody else commits small transactions all the time."""

    def __init__(self, cluster: LocalCluster) -> None:
        super().__init__()
        self._storage = cluster.storage(timeout=300, finish_timeout=600)
        self.commits = 0
        self.worst = 0.0  # seconds

    def work(self) -> None:
        with contextlib.closing(self._storage) as storage:
            for _ in self.rounds(0.02):
                began = time.monotonic()
                commit(storage, [(storage.new_oid(), b"small")])
                self.worst = max(self.worst, time.monotonic() - began)
                self.commits += 1


class Committing(Background):
    """One transaction is committed meanwhile."""

    def __init__(self, storage: ClusterStorage, records: list[tuple[bytes, bytes]]) -> None:
        super().__init__()
        self._storage, self._records = storage, records
        self._tid = b""

    def work(self) -> None:
        self._tid = commit(self._storage, self._records)

    def result(self) -> bytes:
        self._thread.join()
        if self._error is not None:
            error, self._error = self._error, None
            raise error
        return self._tid
