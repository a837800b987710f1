"""The blob directory keeps within its bound, and never loses what is in use."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import time

import pytest
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.utils import z64

from springtide.client.blobs import cache as caching
from springtide.client.blobs.cache import BlobCache, Busy
from springtide.client.blobs.directory import BlobDirectory, Staging
from springtide.client.blobs.eviction import SPARED_SECONDS, Kept, check_every, excess, removable
from springtide.client.errors import SessionLost
from springtide.records.ids import tid
from tests.unit.client.words import eventually, oid

NOW = 1_000_000.0
OLD = NOW - SPARED_SECONDS - 1


# -- the decision -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "order"),
    [
        ([], ""),
        ([Kept("a", 5, OLD), Kept("b", 5, OLD - 1), Kept("c", 5, OLD - 2)], "cba"),
        ([Kept("a", 5, OLD), Kept("b", 5, NOW - 1), Kept("c", 5, NOW + 9)], "a"),
        ([Kept("a", 5, OLD), Kept("used", 5, OLD - 1)], "a"),
    ],
)
def test_the_longest_unused_go_first_and_what_is_in_use_never(files, order):
    assert "".join(file.path for file in removable(files, {"used"}, NOW)) == order


def test_what_is_in_use_counts_against_the_bound():
    assert excess([Kept("a", 5, OLD), Kept("used", 5, NOW)], 7) == 3


def test_a_check_is_due_after_a_part_of_the_bound():
    assert (check_every(1000, 10), check_every(0, 10)) == (100, 0)


# -- the directory --------------------------------------------------------------------------------------------


@pytest.fixture
def directory(tmp_path):
    return BlobDirectory(tmp_path / "blobs", shared=False)


def keep(directory, number, bytes=100, age=2 * SPARED_SECONDS):
    """A committed file that was used ``age`` seconds ago."""
    staging = directory.stage()
    name = staging.name()
    with open(name, "wb") as file:
        file.write(b"x" * bytes)
    path = directory.place(name, oid(number), tid(1))
    staging.end()
    then = time.time() - age
    os.utime(path, (then, then))
    return path


def cleaned(directory, bytes_max):
    BlobCache(directory, bytes_max, 1).clean()


def test_cleaning_removes_what_is_too_much_and_the_directories_that_are_empty_then(directory):
    paths = [keep(directory, number, age=(9 - number) * SPARED_SECONDS) for number in range(4)]

    cleaned(directory, 200)

    assert [os.path.exists(path) for path in paths] == [False, False, False, True], "a part less than the bound"
    assert not os.path.exists(os.path.dirname(paths[0]))


def test_a_file_that_is_open_anywhere_is_never_removed(directory, connect, cluster):
    path = keep(directory, 1)
    with connect(cluster, blob_dir=directory.path).openCommittedBlobFile(oid(1), tid(1), Blob()) as file:
        os.utime(path, (1, 1))
        cleaned(directory, 0)
        assert os.path.exists(path)
        assert file.read() == b"x" * 100

    os.utime(path, (1, 1))
    cleaned(directory, 0)
    assert not os.path.exists(path)


def test_a_file_that_another_process_has_open_is_not_removed(directory):
    path = keep(directory, 1)
    code = (
        "import fcntl, os, sys; fd = os.open(sys.argv[1], os.O_RDONLY);"
        "fcntl.flock(fd, fcntl.LOCK_SH); print('open', flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as reader:
        assert reader.stdout.readline() == b"open\n"
        cleaned(directory, 0)
        assert os.path.exists(path)
        reader.kill()

    cleaned(directory, 0)
    assert not os.path.exists(path), "the lock of a process that died is gone"


def test_a_path_that_somebody_holds_on_to_is_in_use(directory):
    file = keep(directory, 1)
    cache = BlobCache(directory, 0, 1)

    path = cache.hand_out(file)
    assert path == file
    cache.close()  # its thread, which would clean as we do
    os.utime(path, (1, 1))  # as if that were long ago
    cache.clean()
    assert os.path.exists(path)
    del path
    gc.collect()
    cache.clean()

    assert not os.path.exists(file)


def test_handing_out_a_path_spares_its_file_from_other_processes_for_a_while(directory):
    file = keep(directory, 1)
    assert BlobCache(directory, None, 1).hand_out(file) is not None

    cleaned(directory, 0)

    assert os.path.exists(file)


def test_paths_that_are_held_on_to_are_touched_now_and_then(directory, monkeypatch):
    monkeypatch.setattr(caching, "TOUCH_SECONDS", 0.05)
    file = keep(directory, 1)
    cache = BlobCache(directory, 1000, 1)
    path = cache.hand_out(file)

    os.utime(file, (1, 1))
    eventually(lambda: os.stat(path).st_atime > 1)

    cache.close()


def test_a_file_that_was_used_after_it_was_looked_at_is_not_removed(directory):
    path = keep(directory, 1)
    (seen,) = directory.kept()
    os.utime(path)

    assert not directory.remove(seen)
    assert os.path.exists(path)


def test_an_interrupted_download_counts_and_one_under_way_stays(directory, connect, cluster):
    partial = os.path.join(directory.incoming, "partial")
    with open(partial, "wb") as file:
        file.write(b"x" * 100)
    os.utime(partial, (1, 1))

    cleaned(directory, 0)

    assert not os.path.exists(partial)


def test_only_one_process_cleans_at_a_time(directory):
    path = keep(directory, 1)
    with directory.cleaning() as ours:
        assert ours
        with pytest.raises(Busy):
            cleaned(directory, 0)

    assert os.path.exists(path)


def test_files_of_a_transaction_whose_process_died_are_swept_and_others_are_not(directory):
    living = directory.stage()
    code = (
        "import os, signal, sys; from springtide.client.blobs.directory import BlobDirectory;"
        "s = BlobDirectory(sys.argv[1], False).stage(); open(s.name(), 'w').close(); print(s.path, flush=True);"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, directory.path], stdout=subprocess.PIPE)
    assert ended.returncode == -signal.SIGKILL
    dead = ended.stdout.decode().strip()
    assert os.listdir(dead)

    directory.sweep()

    assert not os.path.exists(dead)
    assert os.path.exists(living.path)
    living.end()
    assert os.listdir(directory.temporary) == []


def test_a_forked_child_leaves_the_files_of_its_parents_transactions_alone(directory):
    staging = directory.stage()
    child = os.fork()
    if child == 0:
        staging.end()
        os._exit(0)
    os.waitpid(child, 0)

    assert os.path.exists(staging.path)
    assert isinstance(staging, Staging)
    directory.sweep()
    assert os.path.exists(staging.path), "it is still locked"
    staging.end()


# -- with a storage ----------------------------------------------------------------------------------------------


def store(storage, number, content):
    name = os.path.join(storage.temporaryDirectory(), "written")
    with open(name, "wb") as file:
        file.write(content)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.storeBlob(oid(number), z64, b"record", name, "", txn)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn)


def test_a_storage_cleans_in_the_background_and_downloads_again_what_it_removed(
    cluster, connect, tmp_path, monkeypatch
):
    monkeypatch.setattr("springtide.client.blobs.eviction.SPARED_SECONDS", -1.0)
    storage = connect(cluster, blob_dir=str(tmp_path / "blobs"), blob_cache_size=10_000, blob_cache_size_check=10)
    tids = {number: store(storage, number, b"%04d" % number * 250) for number in range(1, 41)}

    directory = storage._blobs.directory
    eventually(lambda: sum(file.bytes for file in directory.kept()) <= 10_000)

    for number, serial in tids.items():
        with storage.openCommittedBlobFile(oid(number), serial) as file:
            assert file.read() == b"%04d" % number * 250
    eventually(lambda: sum(file.bytes for file in directory.kept()) <= 10_000)
    assert "fetch_blob" in cluster.seen


READER = """
import hashlib, random, sys
from springtide import ClusterStorage
from springtide.client.blobs import eviction
from springtide.records.ids import oid
eviction.SPARED_SECONDS = -1.0
address, folder, tid = sys.argv[1], sys.argv[2], bytes.fromhex(sys.argv[3])
storage = ClusterStorage(address, blob_dir=folder, blob_cache_size=200_000, blob_cache_size_check=10)
for _ in range(200):
    number = random.randrange(1, 21)
    with storage.openCommittedBlobFile(oid(number), tid) as file:
        content = file.read()
        assert content == b"%04d" % number * 12_500, (number, len(content))
storage.close()
"""


def test_processes_that_share_a_directory_and_clean_it_all_the_time_always_read_what_is_right(
    cluster, connect, tmp_path
):
    writer = connect(cluster, blob_dir=str(tmp_path / "writer"))
    txn = TransactionMetaData()
    writer.tpc_begin(txn)
    for number in range(1, 21):
        name = os.path.join(writer.temporaryDirectory(), "written")
        with open(name, "wb") as file:
            file.write(b"%04d" % number * 12_500)
        writer.storeBlob(oid(number), z64, b"record", name, "", txn)
    writer.tpc_vote(txn)
    serial = writer.tpc_finish(txn)

    command = [sys.executable, "-c", READER, cluster.addresses[0], str(tmp_path / "shared"), serial.hex()]
    readers = [subprocess.Popen(command) for _ in range(3)]

    assert [reader.wait(100) for reader in readers] == [0, 0, 0]
    assert cluster.seen.count("fetch_blob") > 40, "what was removed was fetched again"


def test_the_cleaners_thread_ends_with_the_storage(cluster, connect, tmp_path):
    storage = connect(cluster, blob_dir=str(tmp_path / "blobs"), blob_cache_size=10_000)
    store(storage, 1, b"content")
    thread = storage._blobs.cache._thread
    assert thread.is_alive()

    storage.close()

    assert not thread.is_alive()


def test_a_forked_child_has_a_cleaner_of_its_own(directory):
    cache = BlobCache(directory, 0, 1)
    cache.added(1)
    file = keep(directory, 1)
    child = os.fork()
    if child == 0:
        cache.forked()
        cache.added(1)
        deadline = time.monotonic() + 10
        while os.path.exists(file) and time.monotonic() < deadline:
            cache.added(1)
            time.sleep(0.01)
        os._exit(int(os.path.exists(file)))
    _, status = os.waitpid(child, 0)
    cache.close()

    assert os.waitstatus_to_exitcode(status) == 0


def test_the_reader_of_a_file_that_was_removed_in_between_gets_it_anew(cluster, connect, tmp_path, monkeypatch):
    storage = connect(cluster, blob_dir=str(tmp_path / "blobs"))
    serial = store(storage, 1, b"content")
    load, removed = storage._blobs.reads.load, []

    def removing(name, at):
        path = load(name, at)
        if not removed:
            removed.append(path)
            os.unlink(path)
        return path

    monkeypatch.setattr(storage._blobs.reads, "load", removing)
    with storage.openCommittedBlobFile(oid(1), serial) as file:
        assert file.read() == b"content"


def test_a_download_without_nodes_ends_with_the_timeout(cluster, connect, tmp_path):
    writer = connect(cluster, blob_dir=str(tmp_path / "writer"))
    serial = store(writer, 1, b"content")
    storage = connect(cluster, blob_dir=str(tmp_path / "blobs"), timeout=0.5)
    cluster.nodes[0].stop()

    with pytest.raises(Exception, match=r"no node can be reached|could not be loaded") as raised:
        storage.loadBlob(oid(1), serial)
    assert not isinstance(raised.value, (SessionLost, OSError))
