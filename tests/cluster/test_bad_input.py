"""What is wrong is said in one clear sentence that says what to do; nothing is lost, and there is no traceback."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import StorageError
from ZODB.utils import z64

import springtide
from springtide.client import errors
from springtide.testing.admin import Admin, cluster_status
from springtide.testing.cluster import STORE, LocalCluster
from springtide.testing.process import free_port
from springtide.wire import WIRE_VERSION
from springtide.wire.v1 import session_pb2, session_pb2_grpc
from tests.cluster.load import wait_until

SECONDS = 30.0


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    """One command, to its end. ``stderr`` is without the log lines of a node."""
    words = [sys.executable, "-m", "springtide", *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("SPRINGTIDE_")}
    done = subprocess.run(words, capture_output=True, text=True, timeout=SECONDS, env=environment, check=False)
    told = [line for line in done.stderr.splitlines() if not re.match(r"\d{4}-\d\d-\d\d ", line)]
    done.stderr = "\n".join(told)
    return done


def refusal(*arguments: object) -> str:
    """What the command says when it cannot do what it was asked."""
    done = command(*arguments)
    assert done.returncode == 1, done.stdout + done.stderr
    return one_sentence(done.stderr)


def one_sentence(text: str) -> str:
    assert "Traceback" not in text
    assert "\n" not in text.strip(), text
    assert text.startswith("springtide: ")
    return text


def config(directory: Path, **settings: object) -> Path:
    """A node's file, good but for what the test changes."""
    told: dict[str, object] = {
        "node": "a",
        "bind": f"127.0.0.1:{free_port()}",
        "data": str(directory / "a"),
        "initial_nodes": ["a"],
        "coordinator": {"inside": True},
        **settings,
    }
    told["coordinator"] = "{" + ", ".join(f"{k} = {json.dumps(v)}" for k, v in dict(told["coordinator"]).items()) + "}"  # type: ignore[call-overload]
    lines = [f"{key} = {value if key == 'coordinator' else json.dumps(value)}" for key, value in told.items()]
    file = directory / "node.toml"
    file.write_text("\n".join(lines))
    return file


@contextlib.contextmanager
def running(file: Path) -> Iterator[subprocess.Popen[str]]:
    """A node that leads its cluster of one, until the end of the block."""
    words = [sys.executable, "-m", "springtide", "node", "--config", str(file)]
    with (file.parent / "node.log").open("w") as log:
        process = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=log, text=True)
    try:
        assert process.stdout is not None
        serving = re.search(r"serving at (\S+)", process.stdout.readline())
        assert serving is not None, (file.parent / "node.log").read_text()
        with Admin([serving[1]]) as admin:
            wait_until("the node leads", lambda: cluster_status(admin)["primary"])
        yield process
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(SECONDS) == 0
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(scope="module")
def cluster() -> Iterator[LocalCluster]:
    settings = {"limits": {"record_bytes_max": 100_000, "transaction_bytes_max": 300_000}}
    with LocalCluster(3, settings=settings) as cluster:
        yield cluster


def store(storage: Any, *records: bytes) -> bytes:
    transaction = TransactionMetaData()
    storage.tpc_begin(transaction)
    try:
        for record in records:
            storage.store(storage.new_oid(), z64, record, "", transaction)
        storage.tpc_vote(transaction)
        tid: bytes = storage.tpc_finish(transaction)
        return tid
    except BaseException:
        storage.tpc_abort(transaction)
        raise


# -- the configuration (tests/unit/node/test_config.py has the whole table) ---------------------


def test_a_wrong_type(tmp_path: Path) -> None:
    told = refusal("node", "--config", config(tmp_path, lease_seconds="soon"))
    assert '"lease_seconds" must be a number' in told


def test_an_unknown_key(tmp_path: Path) -> None:
    told = refusal("node", "--config", config(tmp_path, leaze_seconds=3))
    assert '"leaze_seconds" is not known; did you mean "lease_seconds"?' in told


def test_an_address_that_others_can_reach_without_tls(tmp_path: Path) -> None:
    told = refusal("node", "--standalone", tmp_path / "db", "--bind", "0.0.0.0:8550")
    assert "[tls]" in told and "--insecure" in told
    told = refusal("node", "--config", config(tmp_path, bind="0.0.0.0:8550", advertise="10.0.0.1:8550"))
    assert "[tls]" in told and "--insecure" in told


# -- what is in use -----------------------------------------------------------------------------


def test_an_occupied_port(tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        address = f"127.0.0.1:{other.getsockname()[1]}"

        told = refusal("node", "--config", config(tmp_path, bind=address))

    assert address in told and "another process" in told and "change bind" in told


def test_a_directory_in_use_by_another_process(tmp_path: Path) -> None:
    with running(config(tmp_path)):
        told = refusal("node", "--config", config(tmp_path))

    assert str(tmp_path / "a") in told and "in use by another process" in told


def test_a_directory_of_another_node(tmp_path: Path) -> None:
    with running(config(tmp_path)):
        pass

    told = refusal("node", "--config", config(tmp_path, node="b", initial_nodes=["b"]))

    assert str(tmp_path / "a") in told and "'a'" in told and "'b'" in told


def test_a_coordinators_file_in_use(cluster: LocalCluster) -> None:
    file = cluster.directory / "coordinator.json"
    told = refusal("coordinator", "--bind", f"127.0.0.1:{free_port()}", "--file", file)
    assert str(file) in told and "in use" in told


# -- what does not belong together --------------------------------------------------------------


def test_a_directory_of_another_cluster(tmp_path: Path, cluster: LocalCluster) -> None:
    with running(config(tmp_path)):
        pass
    theirs = {"embedded": cluster.address(STORE)}

    told = refusal("node", "--config", config(tmp_path, cluster="local", coordinator=theirs))

    assert "belongs to cluster" in told and "coordinator" in told
    assert sorted(cluster.status()["in_sync"]) == ["a", "b", "c"], "the cluster goes on"


def test_data_here_but_no_record_there(tmp_path: Path, cluster: LocalCluster) -> None:
    with running(config(tmp_path)):
        pass
    theirs = {"embedded": cluster.address(STORE)}

    told = refusal("node", "--config", config(tmp_path, cluster="nobodys", coordinator=theirs))

    assert "no record" in told and "springtide recover" in told and "empty directory" in told


def test_a_client_of_a_newer_wire_version(cluster: LocalCluster) -> None:
    hello = session_pb2.SessionHello(wire_version=WIRE_VERSION + 1, client="from the future")
    with grpc.insecure_channel(cluster.address("a")) as channel:
        answers = session_pb2_grpc.StorageStub(channel).Session(
            iter([session_pb2.ClientMessage(hello=hello)]), timeout=SECONDS
        )
        (answer,) = list(answers)

    assert answer.WhichOneof("body") == "error"
    told = answer.error.message
    assert f"wire version {WIRE_VERSION + 1}" in told and "upgrade" in told
    with contextlib.closing(cluster.storage()) as storage:
        store(storage, b"the node goes on")


def test_a_client_of_another_cluster(tmp_path: Path, cluster: LocalCluster) -> None:
    file = config(tmp_path)
    with running(file), contextlib.closing(cluster.storage()) as storage:
        theirs = re.search(r'"cluster": "(\w+)"', (tmp_path / "a" / "identity.json").read_text())
        assert theirs is not None
        with grpc.insecure_channel(cluster.address("a")) as channel:
            hello = session_pb2.SessionHello(wire_version=WIRE_VERSION, cluster=theirs[1])
            answers = session_pb2_grpc.StorageStub(channel).Session(
                iter([session_pb2.ClientMessage(hello=hello)]), timeout=SECONDS
            )
            (answer,) = list(answers)
        assert "cluster" in answer.error.message
        store(storage, b"the node goes on")


# -- what is damaged ----------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["state", "log", "identity"])
def test_a_damaged_file_stops_its_node_and_the_cluster_goes_on(what: str, cluster: LocalCluster) -> None:
    with contextlib.closing(cluster.storage()) as storage:
        for number in range(20):
            store(storage, b"%d" % number * 1000)
        victim = next(node for node in cluster.nodes if node != cluster.primary())
        cluster.wait_for("everything is applied", lambda s: all(n["applied"] == n["commit"] for n in s["nodes"]))
        cluster.kill(victim)
        damage(cluster.data(victim), what)

        done = command("node", "--config", cluster.directory / f"{victim}.toml")

        assert done.returncode == 1
        told = one_sentence(done.stderr)
        assert str(cluster.data(victim)) in told
        assert "damaged" in told or "is not an identity" in told
        store(storage, b"the cluster goes on")
    # What an operator does: the node starts anew with an empty directory.
    cluster.wipe(victim)
    cluster.start(victim)
    cluster.wait_in_sync(cluster.nodes)


def damage(directory: Path, what: str) -> None:
    """Overwrite a piece in the middle of a file."""
    file = {
        "state": lambda: directory / "state" / "data.mdb",
        "log": lambda: sorted((directory / "log").iterdir())[-1],
        "identity": lambda: directory / "identity.json",
    }[what]()
    begin, length = (0, 16_384) if what == "state" else (file.stat().st_size // 3, 64)
    with file.open("r+b") as bytes_:
        bytes_.seek(begin)
        bytes_.write(b"\xff" * length)


# -- what is too large, and what cannot be reached ----------------------------------------------


def test_a_record_above_the_limit(cluster: LocalCluster) -> None:
    with contextlib.closing(cluster.storage()) as storage:
        before = storage.lastTransaction()

        with pytest.raises(errors.RecordTooLarge, match=r"100[_,]?000"):
            store(storage, bytes(100_001))

        assert storage.lastTransaction() == before
        store(storage, bytes(100_000))


def test_a_transaction_above_the_limit(cluster: LocalCluster) -> None:
    with contextlib.closing(cluster.storage()) as storage:
        before = storage.lastTransaction()

        with pytest.raises(errors.RecordTooLarge, match=r"300[_,]?000"):
            store(storage, *[bytes(90_000)] * 4)

        assert storage.lastTransaction() == before
        store(storage, *[bytes(90_000)] * 3)


def test_an_unreachable_cluster() -> None:
    address = f"127.0.0.1:{free_port()}"

    with pytest.raises(errors.ClusterUnavailable, match=address):
        springtide.ClusterStorage([address], timeout=1.0)
    for words in (["status"], ["verify"], ["handover"]):
        told = refusal(*words, address)
        assert address in told


def test_an_import_of_what_is_no_filestorage(tmp_path: Path, cluster: LocalCluster) -> None:
    file = tmp_path / "Data.fs"
    file.write_bytes(b"this is not a FileStorage")

    told = refusal("import", file, "--to", cluster.uri)

    assert str(file) in told and "not a FileStorage" in told


def test_a_uri_that_is_none() -> None:
    assert "springtide://" in refusal("status", "zeo://127.0.0.1:1")
    assert "host:port" in refusal("status", "127.0.0.1:many")


def test_serials_that_are_wrong_are_conflicts_and_not_failures(cluster: LocalCluster) -> None:
    with contextlib.closing(cluster.storage()) as storage:
        oid, transaction = storage.new_oid(), TransactionMetaData()
        storage.tpc_begin(transaction)
        with pytest.raises(StorageError):
            storage.store(b"short", z64, b"data", "", transaction)
            storage.tpc_vote(transaction)
        storage.tpc_abort(transaction)
        assert len(oid) == 8
        store(storage, b"the storage goes on")
