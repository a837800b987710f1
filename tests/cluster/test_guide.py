"""What the introduction and the guide of ZODB promise, as they show it, on a cluster."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import transaction
import ZODB
from BTrees.OOBTree import OOBTree
from persistent.mapping import PersistentMapping
from ZODB.broken import Broken
from ZODB.DemoStorage import DemoStorage
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, POSKeyError, ReadOnlyHistoryError
from ZODB.utils import p64, z64

from springtide.testing.cluster import LocalCluster
from tests.cluster import garage
from tests.cluster.garage import Car, PlainWheel, Trailer, Wheel

PATIENCE = 60.0


@pytest.fixture
def db(cluster: LocalCluster) -> Iterator[Any]:
    db = ZODB.DB(cluster.storage(timeout=PATIENCE))
    yield db
    db.close()


def written(db: Any) -> list[set[int]]:
    """The oids of each transaction."""
    return [{int.from_bytes(record.oid) for record in each} for each in db.storage.iterator()]


def test_what_is_reachable_from_the_root_is_stored(db: Any, cluster: LocalCluster) -> None:
    with db.transaction() as connection:
        car = connection.root()["car"] = Car(Wheel)
        never = Trailer("reachable from nothing")
        never.car = car

    other = ZODB.DB(cluster.storage())
    with other.transaction() as connection:
        stored = connection.root()["car"]
        assert isinstance(stored, Car) and isinstance(stored.front, Wheel)
        assert stored.front.pressure == 2.0
    assert never._p_oid is None, "nobody refers to it"
    assert len(db.storage) == 4, "the root, the car, two wheels"
    other.close()


def test_only_what_was_changed_is_written(db: Any) -> None:
    with db.transaction() as connection:
        car = connection.root()["car"] = Car(Wheel)
    rear = int.from_bytes(car.rear._p_oid)

    with db.transaction() as connection:
        assert connection.root()["car"].front.pressure == 2.0  # read, not written
        connection.root()["car"].rear.pressure = 2.5

    assert written(db)[-1] == {rear}


def test_a_change_within_a_plain_list_needs_p_changed(db: Any) -> None:
    with db.transaction() as connection:
        connection.root()["car"] = Car(Wheel)

    def owners() -> list[str]:
        connection = db.open(transaction.TransactionManager())
        found: list[str] = connection.root()["car"].owners
        connection.close()
        return found

    manager = transaction.TransactionManager()
    connection = db.open(manager)
    car = connection.root()["car"]
    car.owners.append("Ann")
    manager.commit()
    assert owners() == [], "nobody told ZODB"

    car.owners.append("Bob")
    car._p_changed = True
    manager.commit()
    assert owners() == ["Ann", "Bob"]
    connection.close()


@pytest.mark.parametrize(("kind", "conflict"), [(PlainWheel, True), (Wheel, False)])
def test_two_transactions_on_two_wheels_of_one_car(db: Any, cluster: LocalCluster, kind: type, conflict: bool) -> None:
    """Two clients, as two processes are. Plain wheels are the car's state, so both change one object."""
    with db.transaction() as connection:
        car = connection.root()["car"] = Car(kind)
    other = ZODB.DB(cluster.storage(sync="strict"))
    mine, theirs = transaction.TransactionManager(), transaction.TransactionManager()
    my_car, their_car = db.open(mine).root()["car"], other.open(theirs).root()["car"]
    read = my_car._p_serial, their_car.front  # both transactions have begun, and read

    my_car.front.pressure = 2.2
    their_car.rear.pressure = 2.4
    if conflict:
        my_car._p_changed = their_car._p_changed = True
    theirs.commit()
    committed = their_car._p_serial
    if conflict:
        with pytest.raises(ConflictError) as raised:
            mine.commit()
        assert raised.value.oid == car._p_oid
        assert raised.value.serials == (committed, read[0])
        assert all(f"0x{serial.hex()}" in str(raised.value) for serial in (committed, read[0]))
        mine.abort()
    else:
        mine.commit()

    with db.transaction() as connection:
        car = connection.root()["car"]
        assert (car.front.pressure, car.rear.pressure) == (2.0 if conflict else 2.2, 2.4)
    theirs.abort()
    other.close()


def test_a_class_that_has_moved_is_broken_until_it_is_back(
    db: Any, cluster: LocalCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    with db.transaction() as connection:
        connection.root()["trailer"] = Trailer("hay")

    with monkeypatch.context() as moved:
        moved.delattr(garage, "Trailer")
        there = ZODB.DB(cluster.storage())
        with there.transaction() as connection:
            trailer = connection.root()["trailer"]
            trailer._p_activate()
            assert isinstance(trailer, Broken)
            assert trailer.__Broken_state__ == {"load": "hay"}
            connection.root()["other"] = 1  # what is broken stays as it is, beside what is written
        there.close()

    back = ZODB.DB(cluster.storage())
    with back.transaction() as connection:
        assert connection.root()["trailer"].load == "hay"
    back.close()


def test_a_demo_storage_over_the_cluster_changes_nothing_in_it(db: Any, cluster: LocalCluster) -> None:
    with db.transaction() as connection:
        connection.root()["load"] = Trailer("hay")
    last = db.lastTransaction()

    demo = ZODB.DB(DemoStorage(base=cluster.storage(read_only=True)))
    with demo.transaction() as connection:
        connection.root()["load"].load = "straw"
        connection.root()["more"] = Trailer("wood")
    with demo.transaction() as connection:
        assert connection.root()["load"].load == "straw" and connection.root()["more"].load == "wood"
    demo.close()

    assert db.lastTransaction() == last
    with db.transaction() as connection:
        assert connection.root()["load"].load == "hay" and "more" not in connection.root()


def test_the_cluster_as_the_changes_of_a_demo_storage(db: Any, cluster: LocalCluster, tmp_path: Path) -> None:
    base = FileStorage(str(tmp_path / "base.fs"))
    below = ZODB.DB(base)
    with below.transaction() as connection:
        connection.root()["load"] = Trailer("hay")
    db.close()
    cluster.reset()

    demo = ZODB.DB(DemoStorage(base=base, changes=cluster.storage()))
    with demo.transaction() as connection:
        connection.root()["load"].load = "straw"
    with demo.transaction() as connection:
        assert connection.root()["load"].load == "straw"
    demo.close()

    changes = cluster.storage()
    assert len(changes) == 1, "only what differs from the base"
    changes.close()


def test_historical_connections_show_what_was(db: Any) -> None:
    with db.transaction() as connection:
        trailer = connection.root()["trailer"] = Trailer("hay")
    then = db.lastTransaction()
    with db.transaction() as connection:
        connection.root()["trailer"].load = "straw"

    at, before = db.open(at=then), db.open(before=then)
    assert at.root()["trailer"].load == "hay"
    assert "trailer" not in before.root()
    with pytest.raises(POSKeyError):
        before.get(trailer._p_oid)
    at.root()["trailer"].load = "never"
    with pytest.raises(ReadOnlyHistoryError):
        transaction.commit()
    transaction.abort()
    at.close()
    before.close()


def test_savepoints_are_undone_without_the_rest(db: Any) -> None:
    with db.transaction() as connection:
        root = connection.root()
        root["tree"] = OOBTree()
        root["tree"]["first"] = Trailer("hay")
        savepoint = connection.transaction_manager.savepoint()
        root["tree"]["second"] = Trailer("straw")
        connection.transaction_manager.savepoint(optimistic=True)
        savepoint.rollback()
        root["tree"]["third"] = Trailer("wood")

    with db.transaction() as connection:
        assert list(connection.root()["tree"]) == ["first", "third"]
    assert len(written(db)) == 2, "the root's creation, and one transaction"


def test_a_subtree_is_exported_and_imported(db: Any) -> None:
    with db.transaction() as connection:
        car = connection.root()["car"] = Car(Wheel)
        car.owners = ["Ann"]
    with db.transaction() as connection:
        exported = io.BytesIO()
        connection.exportFile(connection.root()["car"]._p_oid, exported)

    exported.seek(0)
    with db.transaction() as connection:
        connection.root()["copy"] = connection.importFile(exported)

    with db.transaction() as connection:
        root = connection.root()
        assert root["copy"].owners == ["Ann"] and isinstance(root["copy"].front, Wheel)
        assert root["copy"]._p_oid != root["car"]._p_oid
        assert root["copy"].front._p_oid != root["car"].front._p_oid


def test_objects_are_created_by_many_and_have_different_oids(db: Any, cluster: LocalCluster) -> None:
    other = ZODB.DB(cluster.storage())
    oids = {db.storage.new_oid() for _ in range(250)}
    theirs = {other.storage.new_oid() for _ in range(250)}

    assert len(oids | theirs) == 500
    assert z64 not in oids | theirs and all(oid < p64(2**63) for oid in oids | theirs)
    other.close()


def test_objects_read_for_a_decision_are_checked_where_asked(db: Any, cluster: LocalCluster) -> None:
    with db.transaction() as connection:
        connection.root()["limit"] = Trailer("10")
        connection.root()["taken"] = PersistentMapping()
    other = ZODB.DB(cluster.storage(sync="strict"))
    mine, theirs = transaction.TransactionManager(), transaction.TransactionManager()
    my, their = db.open(mine), other.open(theirs)
    limit, taken = my.root()["limit"], my.root()["taken"]
    assert limit.load == "10"
    my.readCurrent(limit)
    taken["me"] = 10

    their.root()["limit"].load = "0"
    theirs.commit()

    with pytest.raises(ConflictError):
        mine.commit()
    mine.abort()
    other.close()
