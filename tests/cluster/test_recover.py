"""The coordinator lost its record, or somebody took a name twice: what operators meet, and how it ends."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import POSKeyError
from ZODB.utils import load_current, p64, z64

from springtide import ClusterStorage
from springtide.cli.main import springtide as command
from springtide.errors import SpringtideError
from springtide.testing.cluster import STORE, LocalCluster
from springtide.testing.process import Process, free_port
from tests.cluster.load import check_equal, wait_until


def commit(cluster: LocalCluster, number: int) -> None:
    with contextlib.closing(cluster.storage()) as storage:
        meta = TransactionMetaData()
        storage.tpc_begin(meta)
        storage.store(p64(number), z64, b"%d" % number, "", meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)


def recover(cluster: LocalCluster, node: str, *words: str) -> Result:
    arguments = ["recover", "--config", str(cluster.directory / f"{node}.toml"), *words]
    return CliRunner().invoke(command, arguments, standalone_mode=False)


@pytest.mark.timeout(180)
def test_a_record_that_was_lost_is_written_again(tmp_path: Path) -> None:
    with LocalCluster(3, directory=tmp_path / "cluster") as cluster:
        for number in range(1, 6):
            commit(cluster, number)
        assert "Nothing to recover" not in recover(cluster, "a").output, "a node that runs holds its directory"
        for name in (*cluster.nodes, STORE):
            cluster.kill(name)
        (cluster.directory / "coordinator.json").unlink()
        cluster.start(STORE)
        cluster.start("a", wait=False)
        wait_until("the node has ended", lambda: not cluster.running("a"))
        assert "springtide recover" in cluster.logs("a")

        told = {node: recover(cluster, node) for node in cluster.nodes}
        ends, epochs = {}, []
        for node, said in told.items():
            assert said.return_value == 1 and "Nothing was changed" in said.output
            assert f"would write     epoch one above --epochs-seen, {node} leads" in said.output
            ends[node] = tuple(map(int, re.search(r"log ends at +(\d+)/(\d+)", said.output).groups()))
            epochs.append(int(re.search(r"epoch promised +(\d+)", said.output).group(1)))
        chosen = max(ends, key=lambda node: ends[node])
        refused = recover(cluster, chosen, "--yes", "--epochs-seen", str(max(epochs) - 1)) if max(epochs) > 1 else None
        assert refused is None or isinstance(refused.exception, SpringtideError)
        done = recover(cluster, chosen, "--yes", "--epochs-seen", str(max(epochs)))
        assert done.return_value == 0, done.output
        assert "Nothing to recover" in recover(cluster, chosen).output

        for node in (chosen, *(node for node in cluster.nodes if node != chosen)):
            cluster.start(node)
        cluster.wait_in_sync()
        with contextlib.closing(cluster.storage()) as storage:
            assert [load_current(storage, p64(number))[0] for number in range(1, 6)] == [b"1", b"2", b"3", b"4", b"5"]
        commit(cluster, 6)
        check_equal(cluster)


@pytest.mark.timeout(180)
def test_a_record_that_was_put_back_within_its_epoch_is_written_again(tmp_path: Path) -> None:
    with LocalCluster(3, directory=tmp_path / "cluster") as cluster:
        cluster.wait_in_sync()
        commit(cluster, 1)
        backup = (cluster.directory / "coordinator.json").read_bytes()
        behind = next(node for node in cluster.nodes if node != cluster.primary())
        cluster.kill(behind)
        cluster.wait_for("it is shrunk away", lambda status: behind not in status["in_sync"])
        commit(cluster, 2)  # without the node that the backup says is in sync
        leader = cluster.primary()
        for name in (*cluster.nodes, STORE):
            cluster.kill(name)
        (cluster.directory / "coordinator.json").write_bytes(backup)
        cluster.start(STORE)

        wait_until("the coordinator answers", lambda: recover(cluster, leader).return_value is not None)
        said = recover(cluster, leader)
        assert said.return_value == 0 and "add --restored" in said.output
        epoch = re.search(r"epoch promised +(\d+)", said.output).group(1)
        assert recover(cluster, leader, "--restored").return_value == 1
        done = recover(cluster, leader, "--restored", "--yes", "--epochs-seen", epoch)
        assert done.return_value == 0, done.output

        cluster.start(behind, wait=False)  # first of all, and it does not lead
        for node in cluster.nodes:
            if node != behind:
                cluster.start(node)
        cluster.wait_in_sync()
        with contextlib.closing(cluster.storage()) as storage:
            assert [load_current(storage, p64(number))[0] for number in (1, 2)] == [b"1", b"2"]
        check_equal(cluster)


@pytest.mark.timeout(120)
def test_a_second_node_of_the_same_name_does_not_start_and_harms_nobody(tmp_path: Path) -> None:
    with LocalCluster(3, directory=tmp_path / "cluster") as cluster:
        replica = next(node for node in cluster.nodes if node != cluster.primary())
        text = (cluster.directory / f"{replica}.toml").read_text()
        text = text.replace(cluster.address(replica), f"127.0.0.1:{free_port()}")
        text = text.replace(str(cluster.data(replica)), str(tmp_path / "another"))
        (tmp_path / "another.toml").write_text(text)
        command = [*cluster._processes[replica].command[:-1], str(tmp_path / "another.toml")]
        impostor = Process("another", command, tmp_path / "another.log")

        impostor.start()
        wait_until("it has ended", lambda: not impostor.running)

        assert f"a node called {replica} is there already" in impostor.log_tail()
        assert set(cluster.status()["in_sync"]) == set(cluster.nodes)
        commit(cluster, 1)


@pytest.mark.timeout(240)
def test_nobody_is_shown_what_was_lost_from_a_cache_that_remembers_it(tmp_path: Path) -> None:
    """The operator has only the data of a node that had not heard of the last commits."""
    with LocalCluster(3, directory=tmp_path / "cluster") as cluster:
        cluster.wait_in_sync()
        commit(cluster, 1)
        behind = next(node for node in cluster.nodes if node != cluster.primary())
        cluster.kill(behind)
        cluster.wait_for("it is shrunk away", lambda status: behind not in status["in_sync"])
        commit(cluster, 2)
        watching = cluster.storage()
        with contextlib.closing(cluster.storage(cache_dir=str(tmp_path / "cache"))) as storage:
            for each in (storage, watching):
                assert [load_current(each, p64(number))[0] for number in (1, 2)] == [b"1", b"2"]
            lost = storage.lastTransaction()
            wait_until("the directory follows", storage._view.shelf.flush)
        for name in (*cluster.nodes, STORE):
            cluster.kill(name)
        (cluster.directory / "coordinator.json").unlink()
        cluster.start(STORE)

        wait_until("the coordinator answers", lambda: recover(cluster, behind).return_value == 1)
        done = recover(cluster, behind, "--yes", "--epochs-seen", "99")
        assert done.return_value == 0 and "new history" in done.output
        cluster.start(behind)
        for node in sorted(set(cluster.nodes) - {behind}):
            cluster.start(node)
        cluster.wait_in_sync()
        commit(cluster, 3)  # later than all that was lost

        with (
            contextlib.closing(watching),
            contextlib.closing(cluster.storage(cache_dir=str(tmp_path / "cache"))) as new,
        ):
            for storage in (watching, new):
                wait_until("it follows", lambda storage=storage: load_or_none(storage, 3) == b"3")
                assert storage.lastTransaction() > lost
                assert [load_or_none(storage, number) for number in (1, 2, 3)] == [b"1", None, b"3"]
        assert all(node["diverged"] for node in cluster.status()["nodes"] if node["node"] != behind)
        check_equal(cluster)


def load_or_none(storage: ClusterStorage, number: int) -> bytes | None:
    try:
        return bytes(load_current(storage, p64(number))[0])
    except POSKeyError:
        return None
