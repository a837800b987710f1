"""One application, several databases: two clusters and a FileStorage, joined as ZODB joins them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
import ZODB.config
from persistent.mapping import PersistentMapping
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, ReadOnlyError, StorageTransactionError

import springtide
from springtide.testing.cluster import LocalCluster
from tests.cluster.garage import Car, Wheel


@pytest.fixture(scope="module")
def clusters() -> Iterator[tuple[LocalCluster, LocalCluster]]:
    with LocalCluster(1) as one, LocalCluster(1) as other:
        yield one, other


@pytest.fixture
def databases(clusters: tuple[LocalCluster, LocalCluster], tmp_path: Path) -> Iterator[dict[str, Any]]:
    databases: dict[str, Any] = {}
    for name, cluster in zip(("one", "other"), clusters, strict=True):
        cluster.reset()
        ZODB.DB(cluster.storage(), databases=databases, database_name=name)
    ZODB.DB(FileStorage(str(tmp_path / "Data.fs")), databases=databases, database_name="file")
    yield databases
    for db in databases.values():
        db.close()


def roots(databases: dict[str, Any], manager: Any) -> dict[str, Any]:
    connection = databases["one"].open(manager)
    return {name: connection.get_connection(name).root() for name in databases}


def test_one_transaction_commits_in_all_and_references_lead_across(databases: dict[str, Any]) -> None:
    manager = transaction.TransactionManager()
    there = roots(databases, manager)
    with manager:
        for name, root in there.items():
            root["car"] = Car(Wheel)
            root["car"].owners = [name]
    with manager:
        for name, following in (("one", "other"), ("other", "file"), ("file", "one")):
            there[name]["neighbour"] = there[following]["car"]

    found = roots(databases, transaction.TransactionManager())

    assert {name: root["neighbour"].owners for name, root in found.items()} == {
        "one": ["other"], "other": ["file"], "file": ["one"],
    }  # fmt: skip
    assert found["one"]["neighbour"]._p_jar.db().database_name == "other"


@pytest.mark.parametrize("refusing", ["one", "other", "file"])
def test_what_one_of_them_refuses_at_its_vote_none_commits(databases: dict[str, Any], refusing: str) -> None:
    manager = transaction.TransactionManager()
    there = roots(databases, manager)
    with manager:
        for root in there.values():
            root["value"] = PersistentMapping(n=0)
    before = {name: db.lastTransaction() for name, db in databases.items()}

    manager.begin()
    for root in there.values():
        root["value"]["n"] = 1
    adapter = there[refusing]._p_jar._storage
    adapter.tpc_vote = _refuse
    with pytest.raises(StorageTransactionError, match="not today"):
        manager.commit()
    del adapter.tpc_vote
    manager.abort()

    assert {name: db.lastTransaction() for name, db in databases.items()} == before
    with manager:  # and nothing is held: the same again
        for root in roots(databases, manager).values():
            assert root["value"]["n"] == 0
            root["value"]["n"] = 2
    assert [root["value"]["n"] for root in roots(databases, transaction.TransactionManager()).values()] == [2, 2, 2]


def _refuse(transaction: Any) -> None:
    raise StorageTransactionError("not today")


def test_a_conflict_in_one_cluster_aborts_both(databases: dict[str, Any]) -> None:
    mine, theirs = transaction.TransactionManager(), transaction.TransactionManager()
    there = roots(databases, mine)
    with mine:
        for root in there.values():
            root["value"] = PersistentMapping(n=0)
    mine.begin()
    values = {name: root["value"] for name, root in there.items()}
    assert all(value["n"] == 0 for value in values.values())
    with theirs:
        roots(databases, theirs)["other"]["value"]["n"] = 5
    for value in values.values():
        value["n"] = 1

    with pytest.raises(ConflictError):
        mine.commit()
    mine.abort()

    found = roots(databases, transaction.TransactionManager())
    assert {name: root["value"]["n"] for name, root in found.items()} == {"one": 0, "other": 5, "file": 0}


def test_all_clients_of_a_cluster_have_one_sort_key_and_clusters_have_different_ones(
    clusters: tuple[LocalCluster, LocalCluster],
) -> None:
    """Two-phase commits take storages in the order of these keys, everywhere: so they cannot wait for each other."""
    keys = []
    for cluster in clusters:
        storages = [cluster.storage(), springtide.ClusterStorage(cluster.addresses[0], name="another", read_only=True)]
        keys.append({storage.sortKey() for storage in storages})
        for storage in storages:
            storage.close()

    assert [len(each) for each in keys] == [1, 1]
    assert keys[0] != keys[1]


def test_a_read_only_storage_reads_and_writes_nothing(clusters: tuple[LocalCluster, LocalCluster]) -> None:
    writable = ZODB.DB(clusters[0].storage())
    with writable.transaction() as connection:
        connection.root()["value"] = 1
    db = ZODB.DB(clusters[0].storage(read_only=True, name="the reports"))

    manager = transaction.TransactionManager()
    root = db.open(manager).root()
    assert root["value"] == 1 and db.storage.isReadOnly()
    root["value"] = 2
    with pytest.raises(ReadOnlyError, match="the reports was opened read-only"):
        manager.commit()
    manager.abort()
    assert root["value"] == 1
    db.close()
    writable.close()


def test_zconfig_joins_two_clusters_and_a_file(clusters: tuple[LocalCluster, LocalCluster], tmp_path: Path) -> None:
    for cluster in clusters:
        cluster.reset()
    sections = "".join(
        f"<zodb {name}>\n  <springtide>\n    server {cluster.addresses[0]}\n    sync strict\n  </springtide>\n</zodb>\n"
        for name, cluster in zip(("one", "other"), clusters, strict=True)
    )
    file = f"<zodb file>\n  <filestorage>\n    path {tmp_path}/Data.fs\n  </filestorage>\n</zodb>\n"

    db = ZODB.config.databaseFromString(f"%import springtide\n{sections}{file}")

    manager = transaction.TransactionManager()
    with manager:
        for name, root in roots(db.databases, manager).items():
            root["name"] = name
    with manager:
        assert [root["name"] for root in roots(db.databases, manager).values()] == ["one", "other", "file"]
    for each in db.databases.values():
        each.close()
