"""A storage with a cache_dir: what another process, or the same one before, has loaded is not loaded again."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest
from ZODB.POSException import POSKeyError
from ZODB.utils import maxtid

from springtide.client.storage import ClusterStorage
from springtide.errors import ConfigError
from springtide.records.ids import next_tid
from tests.unit.client.fake_node import FakeCluster
from tests.unit.client.words import ROOT, commit, eventually, oid


@pytest.fixture
def make_cluster():
    made = []

    def make(cluster: str = "c1") -> FakeCluster:
        made.append(FakeCluster(1, cluster))
        return made[-1]

    yield make
    for each in made:
        each.close()


@pytest.fixture
def cluster(make_cluster):
    return make_cluster()


@pytest.fixture
def connect(tmp_path):
    opened = []

    def make(cluster, **options) -> ClusterStorage:
        options = {"timeout": 5, "finish_timeout": 5, "cache_dir": str(tmp_path / "cache"), **options}
        opened.append(ClusterStorage(cluster.addresses, **options))
        return opened[-1]

    yield make
    for storage in opened:
        storage.close()


def load(storage, name):
    return storage.loadBefore(name, maxtid)


def test_after_a_restart_only_what_changed_is_loaded(cluster, connect):
    first = commit(connect(cluster, cache_dir=None), *((oid(n), None, b"%d" % n) for n in range(100)))
    storage = connect(cluster)
    for n in range(100):
        load(storage, oid(n))
    storage.close()
    for n in range(1_000):
        last = cluster.write(oid(n % 10), b"changed %d" % n)
    node = cluster.nodes[0]
    node.loads = 0

    storage = connect(cluster)
    assert storage.lastTransaction() == last
    assert [load(storage, oid(n)) for n in range(10, 100)] == [(b"%d" % n, first, None) for n in range(10, 100)]
    assert node.loads == 0
    assert [load(storage, oid(n))[0] for n in range(10)] == [b"changed %d" % n for n in range(990, 1_000)]
    assert node.loads == 10
    assert storage.loadSerial(oid(3), first) == b"3" and "load_serial" not in cluster.seen
    info = storage.cache_info()
    assert info["directory"]["hits"] == 90 and info["directory"]["misses"] == 10
    assert info["directory"]["revisions"] >= 100 and info["directory"]["bytes"] > 0


def test_own_commits_are_kept(cluster, connect):
    storage = connect(cluster)
    tid = commit(storage, (ROOT, None, b"1"))
    storage.close()

    assert load(connect(cluster), ROOT) == (b"1", tid, None)
    assert cluster.nodes[0].loads == 0


def test_what_one_process_loads_another_finds(cluster, connect, tmp_path):
    tid = commit(connect(cluster, cache_dir=None), (ROOT, None, b"1"))
    mine = connect(cluster)
    program = (
        "import sys\nfrom springtide.client.storage import ClusterStorage\n"
        "storage = ClusterStorage(sys.argv[1], cache_dir=sys.argv[2])\n"
        "print(storage.load(bytes(8)))\nstorage.close()\n"
    )
    command = [sys.executable, "-c", program, cluster.addresses[0], str(tmp_path / "cache")]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert told.strip() == str((b"1", tid))
    second = cluster.write(oid(1), b"2")
    eventually(lambda: mine.lastTransaction() == second)
    loads = cluster.nodes[0].loads

    storage = connect(cluster)
    assert load(storage, ROOT) == (b"1", tid, None)
    assert cluster.nodes[0].loads == loads


def test_a_process_that_starts_does_not_read_the_past(cluster, connect):
    storage = connect(cluster)
    commit(storage, (ROOT, None, b"1"))
    storage.close()
    last = cluster.write(ROOT, b"2")

    storage = connect(cluster)
    assert storage.lastTransaction() == last
    assert load(storage, ROOT) == (b"2", last, None)


def test_old_snapshots_are_read_from_the_directory_too(cluster, connect):
    storage = connect(cluster)
    first = commit(storage, (ROOT, None, b"1"))
    second = commit(storage, (ROOT, first, b"2"))
    storage.close()

    assert connect(cluster).loadBefore(ROOT, next_tid(first)) == (b"1", first, second)
    assert cluster.nodes[0].loads == 0


def test_after_a_pack_while_away_nothing_that_is_still_there_is_asked_for(cluster, connect):
    storage = connect(cluster)
    first = commit(storage, (ROOT, None, b"same"), (oid(1), None, b"gone"))
    storage.close()
    cluster.purge(oid(1))
    node = cluster.nodes[0]

    storage = connect(cluster)
    assert storage.lastTransaction() == first
    eventually(storage._view.shelf.flush)  # until then a node is asked whether what is kept is still true
    assert load(storage, ROOT) == (b"same", first, None)
    assert node.loads == 0
    with pytest.raises(POSKeyError):
        load(storage, oid(1))
    storage.close()
    assert load(connect(cluster), ROOT) == (b"same", first, None)
    assert node.loads == 1


def test_another_history_drops_it(cluster, connect):
    storage = connect(cluster)
    first = commit(storage, (ROOT, None, b"1"))
    commit(storage, (ROOT, first, b"2"))
    storage.close()
    with cluster.lock:  # an operator chose a node that had only the first transaction
        cluster.history, cluster.last, cluster.epoch = "h2", first, 9
        cluster.revisions[ROOT].pop()
        cluster.transactions.pop()

    storage = connect(cluster, timeout=20)
    assert load(storage, ROOT) == (b"1", first, None)
    assert cluster.nodes[0].loads == 1
    storage.close()
    assert load(connect(cluster), ROOT) == (b"1", first, None)
    assert cluster.nodes[0].loads == 1


def test_another_cluster_drops_it_unless_it_is_in_use(make_cluster, connect, caplog):
    one, other = make_cluster("c1"), make_cluster("c2")
    for cluster in (one, other):
        cluster.history = f"history of {cluster.id}"
        cluster.write(ROOT, cluster.id.encode())
    storage = connect(one)
    assert load(storage, ROOT)[0] == b"c1"
    storage.close()

    storage = connect(other)
    assert load(storage, ROOT)[0] == b"c2"
    storage.close()
    assert load(connect(other), ROOT)[0] == b"c2"
    assert (one.nodes[0].loads, other.nodes[0].loads) == (1, 1)
    assert "another history" in caplog.text


def test_a_directory_of_a_machine_that_stopped_is_dropped(cluster, connect, tmp_path, caplog):
    storage = connect(cluster)
    commit(storage, (ROOT, None, b"1"))
    storage._view.shelf.flush()
    shutil.copytree(tmp_path / "cache", tmp_path / "copy")
    current = tmp_path / "copy" / "current.json"
    current.write_text(current.read_text().replace('"boot": "', '"boot": "another-'))

    load(connect(cluster, cache_dir=str(tmp_path / "copy")), ROOT)
    assert cluster.nodes[0].loads == 1
    assert "the machine stopped" in caplog.text


@pytest.mark.parametrize("damage", ["zeros", "short", "gone", "nonsense"])
def test_a_damaged_file_costs_what_was_cached_and_nothing_else(cluster, connect, tmp_path, damage):
    storage = connect(cluster)
    first = commit(storage, *((oid(n), None, b"%d" % n * 1000) for n in range(20)))
    storage.close()
    (file,) = (tmp_path / "cache").glob("*/data.mdb")
    content = file.read_bytes()
    match damage:
        case "zeros":
            file.write_bytes(bytes(len(content)))
        case "short":
            file.write_bytes(content[:100])
        case "gone":
            file.unlink()
        case "nonsense":
            (tmp_path / "cache" / "current.json").write_text("[]")

    storage = connect(cluster)
    assert load(storage, oid(3)) == (b"3" * 1000, first, None)
    storage.close()
    storage = connect(cluster)
    assert load(storage, oid(3)) == (b"3" * 1000, first, None)
    assert cluster.nodes[0].loads == 1


def test_a_record_that_was_changed_on_disk_is_not_believed(cluster, connect, tmp_path, caplog):
    storage = connect(cluster)
    first = commit(storage, (ROOT, None, b"what was written" * 10))
    storage.close()
    (file,) = (tmp_path / "cache").glob("*/data.mdb")
    file.write_bytes(file.read_bytes().replace(b"what was written", b"what was invente"))

    assert load(connect(cluster), ROOT) == (b"what was written" * 10, first, None)
    assert cluster.nodes[0].loads == 1
    assert "damaged" in caplog.text


def test_bytes_are_bounded_and_what_memory_holds_stays(cluster, connect):
    other = connect(cluster, cache_dir=None)
    commit(other, *((oid(n), None, os.urandom(20_000)) for n in range(200)))
    storage = connect(cluster, cache_bytes=200_000, persistent_cache_bytes=2_000_000)
    for n in range(200):
        load(storage, oid(n))
        load(storage, oid(0))
        if n % 20 == 0:
            storage._view.shelf.flush()
    storage._view.shelf.flush()
    kept = storage.cache_info()["directory"]
    assert 1_000_000 < kept["bytes"] <= kept["bytes_max"]
    storage.close()
    loads = cluster.nodes[0].loads

    storage = connect(cluster, persistent_cache_bytes=2_000_000)
    for n in (0, 199, 198, 190):
        load(storage, oid(n))
    assert cluster.nodes[0].loads == loads


def test_a_forked_child_uses_it_as_its_parent_does(cluster, connect):
    storage = connect(cluster, cache_bytes=10_000)
    commit(storage, (oid(1), None, b"1"), (oid(2), None, b"2" * 300))
    storage._view.shelf.flush()
    storage._view.cache.clear()
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = b"%d" % len(load(storage, oid(2))[0])
            commit(storage, (oid(3), None, b"3"))
            storage.close()
        except BaseException as error:
            answer = repr(error).encode()
        os.write(writing, answer)
        os._exit(0)
    os.close(writing)
    answer = os.read(reading, 1000)
    os.close(reading)
    os.waitpid(child, 0)
    assert answer == b"300"
    eventually(lambda: storage.lastTransaction() == cluster.last)
    assert load(storage, oid(1))[0] == b"1"
    storage.close()

    storage = connect(cluster)
    assert [load(storage, oid(n))[0] for n in (1, 3)] == [b"1", b"3"]
    assert cluster.nodes[0].loads == 0


def test_without_lmdb_it_says_what_to_install(cluster, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lmdb", None)
    with pytest.raises(ConfigError, match=r"springtide\[cache\]"):
        ClusterStorage(cluster.addresses, cache_dir=str(tmp_path))


def test_a_directory_that_cannot_be_made_is_named(cluster, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cache_dir"):
        ClusterStorage(cluster.addresses, cache_dir=str(tmp_path / "file"))
