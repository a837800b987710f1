"""What clients keep: through restarts, absence, packs, takeovers, and kills of those they share it with."""

from __future__ import annotations

import contextlib
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError
from ZODB.utils import maxtid, p64, z64

from springtide.testing.cluster import LocalCluster
from tests.cluster import cache_process
from tests.cluster.cache_process import OBJECTS, value
from tests.cluster.load import wait_until
from tests.facilities import ALL

ROUNDS = 12
#: Each waits for three nodes.
COMMITS = 10_000 if ALL else 2_000


def commit(storage: Any, writes: dict[int, tuple[bytes, bytes]]) -> bytes:
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    for number, (serial, data) in writes.items():
        storage.store(p64(number), serial, data, "", meta)
    storage.tpc_vote(meta)
    return bytes(storage.tpc_finish(meta))


def served(cluster: LocalCluster) -> int:
    return sum(node["reads_served"] for node in cluster.status()["nodes"] if node["reachable"])


def load_all(storage: Any, count: int) -> list[bytes]:
    return [storage.loadBefore(p64(number), maxtid)[0] for number in range(1, count + 1)]


@pytest.mark.timeout(300)
def test_after_thousands_of_foreign_commits_a_client_that_was_away_loads_only_what_changed(
    cluster: LocalCluster, tmp_path: Path
) -> None:
    with contextlib.closing(cluster.storage()) as other:
        tid = commit(other, {number: (z64, b"%d" % number) for number in range(1, 1_001)})
        with contextlib.closing(cluster.storage(cache_dir=str(tmp_path))) as storage:
            load_all(storage, 1_000)
        serials = dict.fromkeys(range(1, 101), tid)
        for count in range(COMMITS):
            number = count % 100 + 1
            serials[number] = commit(other, {number: (serials[number], b"changed %d" % count)})
        before = served(cluster)

        with contextlib.closing(cluster.storage(cache_dir=str(tmp_path))) as storage:
            assert storage.lastTransaction() >= serials[100]
            # What was missed is written in the background. Until then what is kept may not be known to be true still.
            wait_until("the directory follows", storage._view.shelf.flush)
            found = load_all(storage, 1_000)
            info = storage.cache_info()

        assert found[:100] == [b"changed %d" % count for count in range(COMMITS - 100, COMMITS)]
        assert found[100:] == [b"%d" % number for number in range(101, 1_001)]
        assert served(cluster) - before == info["directory"]["misses"] == 100

        for number in range(1, 101):
            serials[number] = commit(other, {number: (serials[number], b"changed again")})
        other.pack(None, lambda data: (), gc=False)
        with contextlib.closing(cluster.storage(cache_dir=str(tmp_path))) as storage:
            wait_until("the directory follows", storage._view.shelf.flush)
            assert load_all(storage, 1_000) == [b"changed again"] * 100 + found[100:]
            # Not what nodes served: one that was too slow is asked again.
            missed, confirmed = storage.cache_info()["directory"]["misses"], storage.cache_info()["memory"]["confirmed"]
            assert (missed, confirmed) == (100, 0), "a pack meanwhile costs nothing"
        before = served(cluster)
        with contextlib.closing(cluster.storage(cache_dir=str(tmp_path))) as storage:
            assert load_all(storage, 1_000) == [b"changed again"] * 100 + found[100:]
        assert served(cluster) == before


@pytest.mark.timeout(120)
def test_every_client_forgets_what_a_pack_of_another_one_took_away(cluster: LocalCluster, tmp_path: Path) -> None:
    with (
        contextlib.closing(cluster.storage()) as packing,
        contextlib.closing(cluster.storage()) as plain,
        contextlib.closing(cluster.storage(cache_dir=str(tmp_path))) as shelved,
    ):
        first = commit(packing, {number: (z64, b"first %d" % number) for number in range(1, 101)})
        last = commit(packing, {number: (first, b"last %d" % number) for number in range(1, 51)})
        for storage in (plain, shelved):
            wait_until("it is told", lambda storage=storage: storage.lastTransaction() == last)
            for number in range(1, 101):
                assert storage.loadBefore(p64(number), last)[0] == b"first %d" % number
                storage.loadBefore(p64(number), maxtid)
        wait_until("the directory follows", lambda: shelved.cache_info()["directory"]["revisions"] == 150)
        assert [storage.cache_info()["memory"]["revisions"] for storage in (plain, shelved)] == [150, 150]

        packing.pack(None, lambda data: (), gc=False)

        for storage in (plain, shelved):
            wait_until("it is told", lambda storage=storage: storage.cache_info()["memory"]["revisions"] == 100)
        wait_until("the directory follows", lambda: shelved.cache_info()["directory"]["revisions"] == 100)
        before = served(cluster)
        for storage in (plain, shelved):
            assert storage.loadBefore(p64(1), maxtid)[0] == b"last 1"
            assert storage.loadBefore(p64(51), maxtid)[0] == b"first 51"
        assert served(cluster) == before, "what stayed in the database stayed in the caches"
        with pytest.raises(POSKeyError):
            plain.loadSerial(p64(1), first)


@pytest.mark.timeout(120)
def test_a_takeover_drops_nothing(cluster: LocalCluster) -> None:
    with contextlib.closing(cluster.storage()) as storage, contextlib.closing(cluster.storage()) as other:
        tid = commit(other, {number: (z64, b"%d" % number) for number in range(1, 201)})
        wait_until("it is told", lambda: storage.lastTransaction() == tid)
        load_all(storage, 200)
        primary = cluster.primary()
        cluster.kill(primary)
        assert cluster.primary() != primary
        last = commit(other, {7: (tid, b"changed")})
        wait_until("it is told", lambda: storage.lastTransaction() == last)
        before = served(cluster)

        found = load_all(storage, 200)

    assert found[6] == b"changed" and found[7] == b"8"
    assert served(cluster) - before == 1


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_processes_that_share_a_directory_are_killed_and_none_reads_anything_wrong(
    cluster: LocalCluster, tmp_path: Path, record_property: Any
) -> None:
    with contextlib.closing(cluster.storage()) as storage:
        commit(storage, {number: (z64, value(number, 0)) for number in range(1, OBJECTS + 1)})
    directory, chance, logs = tmp_path / "cache", random.Random(1), []

    def start(seed: int) -> subprocess.Popen[bytes]:
        logs.append(tmp_path / f"{seed}.log")
        command = [sys.executable, cache_process.__file__, ",".join(cluster.addresses), str(directory), str(seed)]
        with logs[-1].open("wb") as log:
            return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)

    processes = [start(seed) for seed in range(3)]
    try:
        for turn in range(ROUNDS):
            log = logs[-1]
            wait_until(
                "the newest one reads", lambda log=log: b"00" in log.read_bytes() or b"Error" in log.read_bytes()
            )
            time.sleep(chance.uniform(0.0, 0.5))  # the random moment
            assert all(process.poll() is None for process in processes), [log.read_text() for log in logs]
            victim = processes.pop(chance.randrange(3))
            victim.kill()
            victim.wait()
            processes.append(start(3 + turn))
        current = (directory / "current.json").read_bytes()
    finally:
        for process in processes:
            process.kill()
            process.wait()

    assert not any(word in log.read_text() for log in logs for word in ("Error", "dropping", "failed"))
    with contextlib.closing(cluster.storage(cache_dir=str(directory))) as storage:
        load_all(storage, OBJECTS)
        info = storage.cache_info()["directory"]
    assert info["hits"] >= OBJECTS // 10, "what nobody changed at the very end was kept, whoever was killed"
    assert (directory / "current.json").read_bytes() != current, "it is written as whole when the last one ends"
    record_property(
        "measured", f"shared cache: {ROUNDS} kills of 3 processes; then {info['hits']} of {OBJECTS} were kept"
    )


@contextlib.contextmanager
def away(storage: Any) -> Iterator[None]:
    """The storage has no session, as if its network were cut."""
    storage._cluster.fork_begins(time.monotonic() + 10)
    try:
        yield
    finally:
        storage._cluster.fork_ended()


@pytest.mark.timeout(120)
def test_a_client_that_was_away_during_packs_has_nothing_of_what_went_and_drops_nothing_else(
    cluster: LocalCluster,
) -> None:
    db, other = ZODB.DB(cluster.storage()), ZODB.DB(cluster.storage())
    with other.transaction() as connection:
        connection.root()["kept"] = PersistentMapping(value=0)
        connection.root()["gone"] = PersistentMapping(value=0)
        connection.root()["changed"] = PersistentMapping(value=0)
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    last = other.lastTransaction()
    wait_until("it is told", lambda: db.lastTransaction() == last)
    manager.begin()
    kept, gone, changed = (connection.root()[name] for name in ("kept", "gone", "changed"))
    assert [each["value"] for each in (kept, gone, changed)] == [0, 0, 0]

    with away(db.storage):
        for value in range(1, 4):
            with other.transaction() as there:
                there.root()["changed"]["value"] = value
                if value == 1:
                    del there.root()["gone"]
        other.pack()
        with other.transaction() as there:
            there.root()["changed"]["value"] = 4
        other.pack()
    last = other.lastTransaction()
    wait_until("it is told", lambda: db.lastTransaction() == last)
    manager.begin()

    assert kept._p_changed is False, "nobody has changed it: it is not loaded again"
    assert changed["value"] == 4
    wait_until("what went is told", lambda: manager.begin() and gone._p_changed is None)
    with pytest.raises(POSKeyError):
        gone["value"]
    assert "gone" not in connection.root()
    manager.abort()
    db.close()
    other.close()
