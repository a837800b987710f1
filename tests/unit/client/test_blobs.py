"""Blobs of a storage, over a cluster in memory."""

from __future__ import annotations

import os
import threading

import pytest
import transaction
import ZODB
from ZODB.blob import Blob, BlobFile
from ZODB.Connection import TransactionMetaData
from ZODB.interfaces import IBlobStorage, IBlobStorageRestoreable
from ZODB.POSException import POSKeyError, StorageError, Unsupported
from ZODB.utils import p64, z64

from springtide.client.errors import (
    BlobDirectoryFailed,
    ClusterOutOfSpace,
    NodeFailed,
    RecordTooLarge,
    WrongCluster,
)
from springtide.errors import ConfigError
from springtide.wire.v1 import records_pb2 as records
from tests.unit.client.fake_node import Drop, Refusal
from tests.unit.client.words import oid

CONTENT = os.urandom(300_000)


@pytest.fixture
def folder(tmp_path):
    return str(tmp_path / "blobs")


def begun(storage, *blobs):
    """A transaction that stores ``(oid, serial, content)`` each, not yet voted."""
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    for name, serial, content in blobs:
        storage.storeBlob(name, serial or z64, b"record", written(storage, content), "", txn)
    return txn


def written(storage, content):
    name = os.path.join(storage.temporaryDirectory(), os.urandom(8).hex())
    with open(name, "wb") as file:
        file.write(content)
    return name


def committed(storage, *blobs):
    txn = begun(storage, *blobs)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn)


def content(path):
    with open(path, "rb") as file:
        return file.read()


def leftovers(folder):
    found = [os.path.join(at, name) for at, _, names in os.walk(folder) for name in names]
    own = [os.path.relpath(name, folder) for name in found]
    return [name for name in own if name.startswith(("tmp/", ".springtide/incoming/"))]


# -- what is declared ------------------------------------------------------------------------------------


def test_blobs_are_declared_only_with_a_directory_for_them(cluster, connect, folder):
    without, with_ = connect(cluster), connect(cluster, blob_dir=folder)

    assert not IBlobStorage.providedBy(without)
    assert IBlobStorageRestoreable.providedBy(with_)
    assert (without.blob_dir, with_.blob_dir) == (None, folder)


def test_without_a_directory_every_method_says_what_is_missing(cluster, connect):
    storage = connect(cluster)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)

    for call in (
        lambda: storage.storeBlob(oid(1), z64, b"", "file", "", txn),
        lambda: storage.restoreBlob(oid(1), p64(1), b"", "file", None, txn),
        lambda: storage.loadBlob(oid(1), p64(1)),
        lambda: storage.openCommittedBlobFile(oid(1), p64(1)),
        lambda: storage.temporaryDirectory(),
        lambda: storage.fshelper.temp_dir,
    ):
        with pytest.raises(Unsupported, match="without a blob_dir"):
            call()


@pytest.mark.parametrize(
    "options",
    [
        {"blob_dir": ""},
        {"blob_cache_size": 1},
        {"shared_blob_dir": True},
        {"blob_dir": "x", "blob_cache_size_check": 100},
        {"blob_dir": "x", "blob_cache_size": -1},
        {"blob_dir": "x", "shared_blob_dir": True, "blob_cache_size": 1},
    ],
)
def test_options_that_cannot_be_meant_are_refused(cluster, connect, options):
    with pytest.raises(ValueError):
        connect(cluster, **options)


def test_a_directory_of_another_layout_is_refused(cluster, connect, folder):
    os.mkdir(folder)
    with open(os.path.join(folder, ".layout"), "w") as marker:
        marker.write("lawn")

    with pytest.raises(ConfigError, match="another storage"):
        connect(cluster, blob_dir=folder)


def test_a_directory_with_blobs_of_another_cluster_is_refused(make_cluster, connect, folder):
    first, second = make_cluster(), make_cluster()
    second.id = "c2"
    committed(connect(first, blob_dir=folder), (oid(1), None, CONTENT))
    storage = connect(second, blob_dir=folder)

    with pytest.raises(WrongCluster, match="blobs of cluster c1"):
        storage.loadBlob(oid(1), p64(1))


# -- storing ------------------------------------------------------------------------------------------------


def test_ones_own_blob_is_in_the_directory_after_the_commit_without_a_download(cluster, connect, folder):
    storage = connect(cluster, blob_dir=folder)

    tid = committed(storage, (oid(1), None, CONTENT), (oid(2), None, b""))

    assert content(storage.loadBlob(oid(1), tid)) == CONTENT
    assert content(storage.loadBlob(oid(2), tid)) == b""
    assert "fetch_blob" not in cluster.seen
    assert os.stat(storage.loadBlob(oid(1), tid)).st_mode & 0o222 == 0
    assert not leftovers(folder)


def test_the_file_is_taken_over_and_gone_after_an_abort(cluster, connect, folder):
    storage = connect(cluster, blob_dir=folder)
    name = written(storage, CONTENT)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)

    storage.storeBlob(oid(1), z64, b"record", name, "", txn)
    assert not os.path.exists(name)
    storage.tpc_vote(txn)
    storage.tpc_abort(txn)

    assert not leftovers(folder)


def test_a_later_file_of_the_same_object_counts(cluster, connect, folder):
    storage = connect(cluster, blob_dir=folder)

    tid = committed(storage, (oid(1), None, b"first"), (oid(1), None, b"second"))

    assert content(storage.loadBlob(oid(1), tid)) == b"second"
    assert not leftovers(folder)


def test_many_small_blobs_are_sent(cluster, connect, folder):
    storage = connect(cluster, blob_dir=folder)

    tid = committed(storage, *((oid(n), None, b"%d" % n) for n in range(1, 51)))

    assert {cluster.nodes[0].files[oid(n), tid] for n in range(1, 51)} == {b"%d" % n for n in range(1, 51)}


def test_an_upload_that_breaks_off_goes_on_where_it_ended(cluster, connect, folder, monkeypatch):
    monkeypatch.setattr("springtide.client.blobs.writing.CHUNK_BYTES", 50_000)
    storage = connect(cluster, blob_dir=folder)
    cluster.trip("stored_part", lambda: None)
    cluster.drop("stored_part")

    tid = committed(storage, (oid(1), None, CONTENT))

    assert cluster.nodes[0].files[oid(1), tid] == CONTENT
    assert cluster.seen.count("stored_part") == 6, "no part was sent twice"


def test_after_a_takeover_the_new_primary_is_sent_what_it_lacks(make_cluster, connect, folder):
    cluster = make_cluster(2)
    storage = connect(cluster, blob_dir=folder)

    def take_over():
        cluster.lead(cluster.nodes[1])
        raise Refusal(records.CODE_NOT_PRIMARY, "not any more", cluster.nodes[1].address)

    cluster.trip("vote", take_over)
    tid = committed(storage, (oid(1), None, CONTENT))

    assert cluster.nodes[0].files[oid(1), tid] == CONTENT
    assert cluster.seen.count("store_blob") >= 2


def test_a_finish_that_never_happened_sends_the_file_again(make_cluster, connect, folder):
    cluster = make_cluster(2)
    storage = connect(cluster, blob_dir=folder)

    def take_over():
        cluster.lead(cluster.nodes[1])
        raise Drop

    cluster.trip("finish", take_over)
    tid = committed(storage, (oid(1), None, CONTENT))

    assert content(storage.loadBlob(oid(1), tid)) == CONTENT
    assert cluster.nodes[1].files[oid(1), tid] == CONTENT
    assert not leftovers(folder)


def test_a_node_without_space_refuses_the_vote_and_the_next_commit_works(cluster, connect, folder):
    storage = connect(cluster, blob_dir=folder)
    cluster.refuse("store_blob", records.CODE_NO_SPACE, "the disk is nearly full")
    txn = begun(storage, (oid(1), None, CONTENT))

    with pytest.raises(ClusterOutOfSpace):
        storage.tpc_vote(txn)
    storage.tpc_abort(txn)

    assert not leftovers(folder)
    assert committed(storage, (oid(1), None, CONTENT))


def test_a_blob_above_the_clusters_limit_is_refused_when_it_is_stored(cluster, connect, folder):
    cluster.blob_bytes_max = 1000
    storage = connect(cluster, blob_dir=folder)

    with pytest.raises(RecordTooLarge, match="blob_bytes_max"):
        begun(storage, (oid(1), None, CONTENT))


def test_a_restored_blob_that_repeats_another_is_made_by_the_nodes(cluster, connect, folder):
    storage = connect(cluster, blob_dir=folder)
    first = committed(storage, (oid(1), None, CONTENT))
    txn, stored = TransactionMetaData(), cluster.seen.count("store_blob")
    second = p64(int.from_bytes(first, "big") + 10)
    storage.tpc_begin(txn, second)
    storage.restoreBlob(oid(1), second, b"record", written(storage, CONTENT), first, txn)
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)

    assert cluster.nodes[0].files[oid(1), second] == CONTENT
    assert cluster.seen.count("store_blob") == stored
    assert content(storage.loadBlob(oid(1), second)) == CONTENT


# -- loading ----------------------------------------------------------------------------------------------


@pytest.fixture
def stored(make_cluster, connect, tmp_path):
    """A cluster of two nodes with a blob, and what names it."""
    cluster = make_cluster(2)
    tid = committed(connect(cluster, blob_dir=str(tmp_path / "writer")), (oid(1), None, CONTENT))
    return cluster, tid


def test_a_blob_is_downloaded_once(stored, connect, folder):
    cluster, tid = stored
    storage = connect(cluster, blob_dir=folder)

    assert content(storage.loadBlob(oid(1), tid)) == CONTENT
    assert storage.loadBlob(oid(1), tid) == storage.fshelper.getBlobFilename(oid(1), tid)

    assert cluster.seen.count("fetch_blob") == 1
    assert not leftovers(folder)


def test_several_who_want_one_blob_download_it_once(stored, connect, folder):
    cluster, tid = stored
    storages = [connect(cluster, blob_dir=folder) for _ in range(3)]
    found = []
    threads = [
        threading.Thread(target=lambda s=storage: found.append(content(s.loadBlob(oid(1), tid))))
        for storage in storages
        for _ in range(3)
    ]

    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)

    assert found == [CONTENT] * 9
    assert cluster.seen.count("fetch_blob") == 1


def test_a_node_that_lacks_the_file_is_no_error(stored, connect, folder):
    cluster, tid = stored
    cluster.nodes[0].files.clear()

    for number in range(4):
        storage = connect(cluster, blob_dir=f"{folder}{number}")
        assert content(storage.loadBlob(oid(1), tid)) == CONTENT


def test_an_interrupted_download_goes_on_at_another_node(stored, connect, folder):
    cluster, tid = stored
    storage = connect(cluster, blob_dir=folder)
    cluster.trip("fetched_part", lambda: None)
    cluster.drop("fetched_part")

    assert content(storage.loadBlob(oid(1), tid)) == CONTENT

    assert cluster.seen.count("fetch_blob") == 2
    assert cluster.seen.count("fetched_part") <= 6, "no part was sent twice"


def test_a_download_that_another_process_left_is_gone_on_with(stored, connect, folder):
    cluster, tid = stored
    storage = connect(cluster, blob_dir=folder)
    with open(os.path.join(folder, ".springtide", "incoming", f"{oid(1).hex()}-{tid.hex()}"), "wb") as file:
        file.write(CONTENT[:200_000])

    assert content(storage.loadBlob(oid(1), tid)) == CONTENT
    assert cluster.seen.count("fetched_part") == 2
    assert not leftovers(folder)


@pytest.mark.parametrize("rubbish", [b"rubbish" * 1000, CONTENT + b"more"])
def test_what_was_left_is_dropped_where_it_is_not_of_this_file(stored, connect, folder, rubbish):
    cluster, tid = stored
    storage = connect(cluster, blob_dir=folder)
    with open(os.path.join(folder, ".springtide", "incoming", f"{oid(1).hex()}-{tid.hex()}"), "wb") as file:
        file.write(rubbish)

    assert content(storage.loadBlob(oid(1), tid)) == CONTENT


def test_a_damaged_file_is_taken_from_another_node(stored, connect, folder):
    cluster, tid = stored
    cluster.nodes[0].files[oid(1), tid] = CONTENT[:-1] + b"?"

    for number in range(4):
        storage = connect(cluster, blob_dir=f"{folder}{number}")
        assert content(storage.loadBlob(oid(1), tid)) == CONTENT


def test_a_file_that_no_node_has_is_an_error_that_no_retry_helps(stored, connect, folder):
    cluster, tid = stored
    for node in cluster.nodes:
        node.files.clear()
    storage = connect(cluster, blob_dir=folder, timeout=1)

    with pytest.raises(NodeFailed, match="no node could give"):
        storage.loadBlob(oid(1), tid)


def test_an_unknown_revision_and_one_without_a_file_are_key_errors(stored, connect, folder):
    cluster, tid = stored
    storage = connect(cluster, blob_dir=folder)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.store(oid(2), z64, b"plain", "", txn)
    storage.tpc_vote(txn)
    plain = storage.tpc_finish(txn)

    for name, serial in ((oid(9), tid), (oid(1), p64(1)), (oid(2), plain)):
        with pytest.raises(POSKeyError):
            storage.loadBlob(name, serial)
        with pytest.raises(POSKeyError):
            storage.openCommittedBlobFile(name, serial)
    assert not leftovers(folder)


def test_a_directory_that_cannot_be_written_is_an_error_of_this_storage(stored, connect, folder, monkeypatch):
    cluster, tid = stored
    storage = connect(cluster, blob_dir=folder)

    def full(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(BlobDirectoryFailed, match="No space left") as raised:
        storage.loadBlob(oid(1), tid)

    assert isinstance(raised.value, StorageError)


def test_an_open_file_is_a_blob_file_or_a_plain_one(stored, connect, folder):
    cluster, tid = stored
    storage = connect(cluster, blob_dir=folder)
    blob = Blob()

    with storage.openCommittedBlobFile(oid(1), tid) as plain:
        assert plain.read() == CONTENT
    with storage.openCommittedBlobFile(oid(1), tid, blob) as file:
        assert isinstance(file, BlobFile)
        assert (file.read(), file.blob) == (CONTENT, blob)


# -- a shared directory ---------------------------------------------------------------------------------------


def test_a_shared_directory_is_read_in_place_as_soon_as_its_node_has_applied(stored, connect, folder):
    cluster, tid = stored
    storage = connect(cluster, blob_dir=folder, shared_blob_dir=True)
    path = storage.fshelper.getBlobFilename(oid(1), tid)

    def apply():
        os.makedirs(os.path.dirname(path))
        with open(path, "wb") as file:
            file.write(CONTENT)

    timer = threading.Timer(0.2, apply)
    timer.start()
    assert storage.loadBlob(oid(1), tid) == path
    timer.join()

    assert content(path) == CONTENT
    assert "fetch_blob" not in cluster.seen
    with pytest.raises(POSKeyError):
        storage.loadBlob(oid(9), tid)


def test_what_is_committed_through_a_shared_directory_is_placed_by_its_node_alone(cluster, connect, folder):
    storage = connect(cluster, blob_dir=folder, shared_blob_dir=True)

    tid = committed(storage, (oid(1), None, CONTENT))

    assert cluster.nodes[0].files[oid(1), tid] == CONTENT
    assert not os.path.exists(storage.fshelper.getBlobFilename(oid(1), tid))
    assert not leftovers(folder)


# -- through ZODB -----------------------------------------------------------------------------------------------


def test_a_blob_is_written_changed_and_read_through_zodb(cluster, connect, folder):
    db = ZODB.DB(connect(cluster, blob_dir=folder))
    with db.transaction() as connection:
        connection.root.blob = Blob(b"one")
    with db.transaction() as connection, connection.root.blob.open("a") as file:
        file.write(b", two")

    reader = ZODB.DB(connect(cluster, blob_dir=folder + "2"))
    with reader.transaction() as connection, connection.root.blob.open() as file:
        assert file.read() == b"one, two"
    transaction.abort()
    reader.close()
    db.close()
