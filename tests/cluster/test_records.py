"""Records are the application's: no node ever loads one, and changes are merged where the classes are."""

from __future__ import annotations

import contextlib
import os
import pickle
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from BTrees.OOBTree import OOBTree
from ZODB.Connection import TransactionMetaData
from ZODB.serialize import referencesf
from ZODB.utils import load_current, p64, z64

from springtide.testing.cluster import LocalCluster
from tests.cluster.load import check_equal

MIB = 2**20
TURNS = 6


class Trap:
    """Whoever unpickles it makes a file, named after its own process."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self._directory / "sprung"),)


@pytest.mark.timeout(120)
def test_no_node_ever_loads_what_an_application_stores(cluster: LocalCluster, tmp_path: Path) -> None:
    """Nor do they where they must know what records refer to, or merge, or give a revision back."""
    trap = pickle.dumps(Trap, 2) + pickle.dumps(Trap(tmp_path), 2)
    with contextlib.closing(cluster.storage()) as storage:
        first = commit(storage, {0: trap})
        second = commit(storage, {0: trap + b"."}, serials={0: first})
        undone = TransactionMetaData()
        storage.tpc_begin(undone)
        storage.undo(storage.undoLog(0, 1)[0]["id"], undone)
        storage.tpc_vote(undone)
        third = storage.tpc_finish(undone)
        assert load_current(storage, z64) == (trap, third) and second < third
        primary = cluster.primary()
        cluster.kill(primary)
        cluster.start(primary)
        storage.pack(None, referencesf)
        assert len(list(storage.iterator())) == 1, "what the record refers to was looked at"
        check_equal(cluster)

    assert not (tmp_path / "sprung").exists()
    assert referencesf(trap) == [], "ZODB's own scan does not load it either"
    with pytest.raises(FileExistsError):
        (tmp_path / "sprung").mkdir()
        pickle.loads(pickle.dumps(Trap(tmp_path), 2))


@pytest.mark.timeout(120)
def test_changes_of_one_btree_are_merged_also_where_one_of_them_is_undone(cluster: LocalCluster) -> None:
    db, other = (ZODB.DB(cluster.storage(sync="latest")) for _ in range(2))
    with db.transaction() as connection:
        connection.root()["tree"] = OOBTree({"a": 1, "z": 26})
    managers = transaction.TransactionManager(), transaction.TransactionManager()
    mine, theirs = db.open(managers[0]), other.open(managers[1])
    theirs.sync()

    mine.root()["tree"]["mine"] = 1
    theirs.root()["tree"]["theirs"] = 2
    managers[0].get().note("mine")
    managers[0].commit()
    managers[1].commit()
    (added,) = (each["id"] for each in db.undoLog(0, 10) if each["description"] in ("mine", b"mine"))
    mine.sync()
    assert dict(mine.root()["tree"]) == {"a": 1, "mine": 1, "theirs": 2, "z": 26}

    db.undo(added, managers[0].get())
    managers[0].commit()

    assert dict(mine.root()["tree"]) == {"a": 1, "theirs": 2, "z": 26}
    for connection in (mine, theirs):
        connection.close()
    db.close()
    other.close()


@pytest.mark.timeout(180)
def test_space_that_packs_free_is_used_again(cluster: LocalCluster) -> None:
    numbers = range(1, 17)
    sizes: list[int] = []
    with contextlib.closing(cluster.storage()) as storage:
        tid = z64
        for _ in range(TURNS):
            tid = commit(storage, {n: os.urandom(MIB // 4) for n in numbers}, serials=dict.fromkeys(numbers, tid))
            storage.pack(None, referencesf, gc=False)
            cluster.wait_for("all is applied", lambda s: all(node["applied"] == s["commit"] for node in s["nodes"]))
            sizes.append(max(used(cluster, node) for node in cluster.nodes))
        check_equal(cluster)

    # What a transaction of LMDB frees is free for the one after the next.
    assert max(sizes[4:]) < sizes[3] + MIB, sizes


def used(cluster: LocalCluster, node: str) -> int:
    """What a node's state takes of its disk."""
    return sum(file.stat().st_blocks * 512 for file in cluster.data(node).rglob("data.mdb"))


def commit(storage: Any, records: dict[int, bytes], serials: dict[int, bytes] | None = None) -> bytes:
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    for number, data in records.items():
        storage.store(p64(number), (serials or {}).get(number, z64), data, "", meta)
    storage.tpc_vote(meta)
    tid: bytes = storage.tpc_finish(meta)
    return tid
