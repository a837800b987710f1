"""Blobs through the storage, on a live cluster whose nodes are killed at bad moments."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from ZODB.blob import Blob
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import UndoError
from ZODB.utils import p64, z64

from springtide.cli import main
from springtide.client.blobs import downloading, writing
from springtide.testing.cluster import LocalCluster
from tests.cluster import blob_forks_process
from tests.cluster.blob_client import BlobClient
from tests.cluster.load import check_equal

CONTENT = os.urandom(5 * 2**20 + 3)
OID = p64(1)


@pytest.fixture
def connect(cluster: LocalCluster, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    opened: list[Any] = []

    def make(name: str = "blobs", **options: Any) -> Any:
        opened.append(cluster.storage(**{"blob_dir": tmp_path / name, **options}))
        return opened[-1]

    yield make
    for storage in opened:
        storage.close()


def begun(storage: Any, content: bytes, serial: bytes = z64) -> TransactionMetaData:
    name = os.path.join(storage.temporaryDirectory(), "written")
    Path(name).write_bytes(content)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.storeBlob(OID, serial, b"record", name, "", txn)
    return txn


def committed(storage: Any, content: bytes, serial: bytes = z64) -> bytes:
    txn = begun(storage, content, serial)
    storage.tpc_vote(txn)
    return bytes(storage.tpc_finish(txn))


def on_every_node(cluster: LocalCluster, tid: bytes, content: bytes) -> None:
    """The file comes back from each node of those that run, and then all are compared."""
    digest = hashlib.blake2b(content, digest_size=16).digest()
    for node in cluster.nodes:
        if not cluster.running(node):
            cluster.start(node)
    cluster.wait_in_sync()
    cluster.wait_for("all nodes know the same commit point", lambda s: all(not n["behind"] for n in s["nodes"]))
    for node in cluster.nodes:
        with BlobClient(cluster.address(node)) as one:
            found = one.fetch(OID, tid)
            assert (found.size, found.digest.digest()) == (len(content), digest)
    check_equal(cluster)


def test_the_primary_is_killed_between_the_upload_and_the_vote(cluster: LocalCluster, connect: Any) -> None:
    storage = connect()
    writes, killed = storage._blobs.writes, []
    supply = writes.supply

    def then_kill(session: Any, begun: Any, missing: Any) -> None:
        supply(session, begun, missing)
        if not killed:
            killed.append(cluster.primary())
            cluster.kill(killed[0])

    writes.supply = then_kill
    tid = committed(storage, CONTENT)

    assert cluster.primary() != killed[0]
    assert Path(storage.loadBlob(OID, tid)).read_bytes() == CONTENT
    on_every_node(cluster, tid, CONTENT)


def test_the_primary_is_killed_while_it_is_sent_a_file(
    cluster: LocalCluster, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    storage = connect()
    txn = begun(storage, CONTENT)
    killed, parts = [], writing._Upload._parts

    def then_kill(self: Any, *arguments: Any) -> Iterator[Any]:
        for number, part in enumerate(parts(self, *arguments)):
            yield part
            if number == 2 and not killed:
                killed.append(cluster.primary())
                cluster.kill(killed[0])

    monkeypatch.setattr(writing._Upload, "_parts", then_kill)
    storage.tpc_vote(txn)
    tid = storage.tpc_finish(txn)

    assert killed and cluster.primary() != killed[0]
    on_every_node(cluster, tid, CONTENT)


def test_the_primary_is_killed_between_vote_and_finish(cluster: LocalCluster, connect: Any) -> None:
    storage = connect()
    txn = begun(storage, CONTENT)
    storage.tpc_vote(txn)
    cluster.kill(cluster.primary())

    tid = storage.tpc_finish(txn)

    assert Path(storage.loadBlob(OID, tid)).read_bytes() == CONTENT
    on_every_node(cluster, tid, CONTENT)


def test_a_download_goes_on_at_another_node_when_its_own_is_killed(
    cluster: LocalCluster, connect: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    tid = committed(connect("writer"), CONTENT)
    storage = connect("reader")
    killed, offsets = [], []
    take, chunks = downloading.Download._take, downloading.Download._chunks

    def then_kill(self: Any, chunk: Any, session: Any) -> None:
        take(self, chunk, session)
        if self._have > 2**20 and not killed:
            killed.append(session.node)
            cluster.kill(session.node)

    def noted(self: Any, session: Any) -> Any:
        offsets.append((session.node, self._have))
        return chunks(self, session)

    monkeypatch.setattr(downloading.Download, "_take", then_kill)
    monkeypatch.setattr(downloading.Download, "_chunks", noted)

    assert Path(storage.loadBlob(OID, tid)).read_bytes() == CONTENT

    last, resumed = offsets[-1]
    assert killed[0] in [node for node, _ in offsets]  # perhaps not from 0: a session may end while another begins
    assert last != killed[0] and resumed > 2**20, "it went on where it ended"
    on_every_node(cluster, tid, CONTENT)


def test_a_file_that_two_nodes_have_lost_is_fetched_from_the_third(cluster: LocalCluster, connect: Any) -> None:
    tid = committed(connect("writer"), CONTENT)
    on_every_node(cluster, tid, CONTENT)
    for node in cluster.nodes[:2]:
        for file in cluster.data(node).rglob("*.blob"):
            file.unlink()

    for number in range(3):
        assert Path(connect(f"reader {number}").loadBlob(OID, tid)).read_bytes() == CONTENT


@pytest.mark.parametrize("who", ["with a directory", "without one"])
def test_an_undo_of_what_only_the_primary_has_lost_is_done_with_the_file_of_another(
    cluster: LocalCluster, connect: Any, who: str, tmp_path: Path
) -> None:
    first = committed(connect("writer"), CONTENT)
    second = committed(connect("writer"), b"another", first)
    on_every_node(cluster, second, b"another")
    primary = cluster.primary()
    for file in cluster.data(primary).rglob("*"):
        if file.is_file() and file.stat().st_size == len(CONTENT):
            file.unlink()
    options = {"blob_dir": tmp_path / "empty"} if who == "with a directory" else {}

    with contextlib.closing(cluster.storage(**options)) as storage:
        txn = TransactionMetaData()
        storage.tpc_begin(txn)
        storage.undo(storage.undoLog(0, 1)[0]["id"], txn)
        storage.tpc_vote(txn)
        third = storage.tpc_finish(txn)

    assert cluster.primary() == primary
    on_every_node(cluster, third, CONTENT)
    assert f"as of tid {first.hex()} is missing here, and was taken from" in cluster.logs(primary)


def test_processes_that_fork_while_blobs_are_on_their_way_go_on(cluster: LocalCluster, tmp_path: Path) -> None:
    command = [sys.executable, blob_forks_process.__file__, ",".join(cluster.addresses), str(tmp_path / "blobs")]

    assert subprocess.run(command, timeout=100).returncode == 0

    check_equal(cluster)


def test_a_shared_directory_is_a_nodes_own(cluster: LocalCluster, connect: Any) -> None:
    (directory,) = cluster.data("a").rglob("blobs")
    storage = connect(blob_dir=directory, shared_blob_dir=True)

    tid = committed(storage, CONTENT)

    path = storage.loadBlob(OID, tid)
    assert Path(path).is_relative_to(directory) and Path(path).read_bytes() == CONTENT
    assert os.stat(path).st_mode & 0o222 == 0
    assert os.listdir(storage.temporaryDirectory()) == []
    on_every_node(cluster, tid, CONTENT)


def test_a_blob_that_was_changed_since_cannot_be_undone_and_the_last_change_can(connect: Any) -> None:
    db = ZODB.DB(connect())
    for content in (b"one", b"two", b"three"):
        with db.transaction() as connection:
            if "blob" not in connection.root():
                connection.root()["blob"] = Blob()
            with connection.root()["blob"].open("w") as file:
                file.write(content)
    last, middle = (each["id"] for each in db.undoLog(0, 2))

    with pytest.raises(UndoError), db.transaction() as connection:
        db.undo(middle, connection.transaction_manager.get())
    with db.transaction() as connection:
        db.undo(last, connection.transaction_manager.get())

    reader = ZODB.DB(connect("reader"))
    with reader.transaction() as connection, connection.root()["blob"].open() as file:
        assert file.read() == b"two"
    reader.close()
    db.close()


# -- copies -------------------------------------------------------------------------------------------------


def fill(storage: Any) -> None:
    """Blobs, changed ones, an empty one, and one whose change was undone."""
    with contextlib.closing(ZODB.DB(storage)) as db:
        for content in (b"", b"one", CONTENT, b"three"):
            with db.transaction() as connection:
                root = connection.root()
                root[len(root)] = Blob(content)
                if 1 in root:
                    with root[1].open("w") as file:
                        file.write(b"changed with " + content[:10])
        db.undo(db.undoLog(0, 1)[0]["id"])
        transaction.commit()


def contents(storage: Any) -> list[tuple[bytes, bytes, bytes | None]]:
    """Every revision with what is in its file."""
    found = []
    for each in storage.iterator():
        for record in each:
            try:
                path = storage.loadBlob(record.oid, record.tid)
            except KeyError:
                found.append((record.tid, record.oid, None))
            else:
                found.append((record.tid, record.oid, Path(path).read_bytes()))
    return found


def test_from_a_filestorage_to_the_cluster_and_back(cluster: LocalCluster, connect: Any, tmp_path: Path) -> None:
    fill(FileStorage(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "files")))
    source = FileStorage(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "files"), read_only=True)
    back = FileStorage(str(tmp_path / "Back.fs"), blob_dir=str(tmp_path / "back"))
    storage = connect()

    storage.copyTransactionsFrom(source)
    back.copyTransactionsFrom(connect("reader"))

    wanted = contents(source)
    assert sum(content is not None for _, _, content in wanted) == 7
    assert contents(storage) == contents(back) == wanted
    source.close()
    back.close()
    check_equal(cluster)


def test_an_import_brings_the_files(
    cluster: LocalCluster, connect: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fill(FileStorage(str(tmp_path / "Data.fs"), blob_dir=str(tmp_path / "files")))
    data = str(tmp_path / "Data.fs")

    assert main.run(["import", data, "--to", cluster.uri]) == 1, "it says that there are blobs"
    assert "--blob-dir" in capsys.readouterr().err
    cluster.reset()
    assert main.run(["import", data, "--to", cluster.uri, "--blob-dir", str(tmp_path / "files")]) == 0
    assert "7 blobs" in capsys.readouterr().out

    source = FileStorage(data, blob_dir=str(tmp_path / "files"), read_only=True)
    assert contents(connect()) == contents(source)
    source.close()
