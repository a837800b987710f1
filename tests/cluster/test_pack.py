"""Packs on a live cluster: while others write, and while the primary is killed."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import transaction
import ZODB
from persistent.mapping import PersistentMapping
from ZODB.POSException import ConflictError, UndoError
from ZODB.serialize import referencesf
from ZODB.tests.MinPO import MinPO

from springtide.cli import compact, main
from springtide.testing.admin import compare
from springtide.testing.cluster import LocalCluster
from tests.cluster.load import check_equal

ROUNDS, OBJECTS = 12, 1_000


def fill(db: Any) -> None:
    """Each round replaces all objects but one of the round before, which become garbage."""
    with db.transaction() as connection:
        connection.root()["kept"] = PersistentMapping()
        connection.root()["count"] = 0
    for at in range(ROUNDS):
        with db.transaction() as connection:
            root = connection.root()
            root["kept"][at] = PersistentMapping(at=at)
            root["garbage"] = PersistentMapping({n: PersistentMapping(n=n) for n in range(OBJECTS)})
    with db.transaction() as connection:
        del connection.root()["garbage"]


class Writers:
    """Threads that commit as long as a ``with`` block lasts, each to an object of its own."""

    def __init__(self, db: Any, count: int) -> None:
        self.committed = [0] * count
        self._stop = threading.Event()
        with db.transaction() as connection:
            for n in range(count):
                connection.root()[f"writer {n}"] = PersistentMapping(value=0)
        self._threads = [threading.Thread(target=self._write, args=(db, n)) for n in range(count)]

    def _write(self, db: Any, n: int) -> None:
        manager = transaction.TransactionManager()
        while not self._stop.is_set():
            for attempt in manager.attempts(20):
                with attempt:
                    connection = db.open(manager)
                    mine = connection.root()[f"writer {n}"]
                    mine["value"] += 1
                    mine["new"] = PersistentMapping(of=mine["value"])  # the former one becomes garbage
                connection.close()
            self.committed[n] += 1

    def __enter__(self) -> Writers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)


def everything(db: Any) -> int:
    """How many objects can be reached, each of which can be loaded."""
    with db.transaction() as connection:
        seen, todo = set(), [bytes(8)]
        while todo:
            oid = todo.pop()
            if oid not in seen:
                seen.add(oid)
                todo += referencesf(db.storage.load(oid)[0])
        assert connection.root()["kept"].keys() == set(range(ROUNDS))
        return len(seen)


@pytest.mark.timeout(240)
@pytest.mark.parametrize("kills", [0, 1])
def test_a_pack_while_others_write_takes_away_garbage_alone_though_the_primary_is_killed(kills: int) -> None:
    with LocalCluster(3) as cluster:
        db = ZODB.DB(cluster.storage(timeout=90, finish_timeout=90))
        fill(db)
        before = len(db.storage)
        assert before > ROUNDS * OBJECTS
        failed: list[Exception] = []

        def pack() -> None:
            try:
                db.pack()
            except Exception as error:
                failed.append(error)

        packing = threading.Thread(target=pack)
        with Writers(db, 3) as writers:
            packing.start()
            for kill in range(kills):
                goal = before - (kill + 1) * ROUNDS * OBJECTS // 8
                wait_until(lambda goal=goal: len(db.storage) < goal)
                assert packing.is_alive(), "the pack is at work when the primary is killed"
                primary = cluster.primary()
                cluster.kill(primary)
                cluster.start(primary)
                cluster.wait_in_sync()
            packing.join(120)
            assert not packing.is_alive()
        assert not failed, failed
        assert min(writers.committed) > 0

        assert len(db.storage) < ROUNDS * OBJECTS // 4 + sum(writers.committed)
        db.pack()
        assert len(db.storage) == everything(db)
        assert [db.open().root()[f"writer {n}"]["value"] for n in range(3)] == writers.committed
        cluster.wait_in_sync()
        check_equal(cluster)
        db.close()


def wait_until(condition: Any, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it takes too long"
        time.sleep(0.02)


@pytest.mark.timeout(120)
def test_the_primary_packs_by_itself_where_the_configuration_says_so() -> None:
    settings = {"keep": "0 seconds", "every": "1 second", "keep_classes": {"ZODB.tests.MinPO.MinPO": "1 day"}}
    with LocalCluster(3, settings={"pack": settings}) as cluster:
        db = ZODB.DB(cluster.storage())
        with db.transaction() as connection:
            connection.root()["longer"] = MinPO(0)
        for n in range(1, 5):
            with db.transaction() as connection:
                connection.root()["n"] = PersistentMapping(n=n)
                connection.root()["longer"].value = n

        wait_until(lambda: len(db.storage) == 3)
        wait_until(lambda: len(db.history(bytes(8), 9)) == 1)
        assert len(db.history(db.open().root()["longer"]._p_oid, 9)) == 5
        db.close()


@pytest.mark.timeout(120)
def test_every_node_gives_space_back_while_others_write(capsys: pytest.CaptureFixture[str]) -> None:
    with LocalCluster(3) as cluster:
        db = ZODB.DB(cluster.storage())
        fill(db)
        db.pack()
        with Writers(db, 2) as writers:
            for node in cluster.nodes:
                assert compact.run(cluster.address(node)) == 0

        told = [line.replace(",", "").split() for line in capsys.readouterr().out.splitlines() if line.endswith("now")]
        assert len(told) == 3
        assert all(int(line[4]) < int(line[1]) for line in told), told
        assert min(writers.committed) > 0
        assert [db.open().root()[f"writer {n}"]["value"] for n in range(2)] == writers.committed
        check_equal(cluster)
        db.close()


def test_the_command_keeps_the_history_that_it_is_told_to(capsys: pytest.CaptureFixture[str]) -> None:
    with LocalCluster(nodes=1) as cluster:
        db = ZODB.DB(cluster.storage())
        for n in range(3):
            with db.transaction() as connection:
                connection.root()["n"] = n
        root = db.open().root()

        assert main.run(["pack", cluster.uri, "--keep", "1 day"]) == 0
        assert len(db.history(root._p_oid, 9)) == 4
        assert main.run(["pack", cluster.uri, "--no-gc"]) == 0
        assert len(db.history(root._p_oid, 9)) == 1

        assert "packed in" in capsys.readouterr().out
        db.close()


@pytest.mark.timeout(180)
def test_nodes_that_are_compared_during_a_pack_are_not_said_to_differ() -> None:
    with LocalCluster(3) as cluster:
        db = ZODB.DB(cluster.storage(timeout=90))
        fill(db)
        packing = threading.Thread(target=db.pack, daemon=True)
        packing.start()
        verified = 0
        with cluster.admin() as admin:
            while packing.is_alive():
                assert not compare(admin).differences
                verified += 1

        assert verified > 0
        check_equal(cluster)
        db.close()


@pytest.mark.timeout(240)
def test_undoing_while_packs_follow_each_other_restores_what_was_or_says_why_not() -> None:
    with LocalCluster(3) as cluster:
        db = ZODB.DB(cluster.storage(timeout=90, finish_timeout=90))
        with db.transaction() as connection:
            connection.root()["undone"] = PersistentMapping(value=-1, below=PersistentMapping(of=-1))
        done, failed, packs, undone, refused = threading.Event(), [], [], 0, 0

        def pack() -> None:
            try:
                while not done.is_set():
                    db.pack()
                    packs.append(undone)
            except Exception as error:
                failed.append(error)

        packing = threading.Thread(target=pack)
        packing.start()
        deadline = time.monotonic() + 60
        try:
            while (undone < 20 or len(packs) < 4) and time.monotonic() < deadline:
                value = undone + refused
                with db.transaction() as connection:
                    shown = connection.root()["undone"]
                    before = shown["value"], shown["below"]["of"]
                    shown["value"], shown["below"] = value, PersistentMapping(of=value)
                try:
                    with db.transaction() as connection:
                        db.undo(db.undoLog(0, 1)[0]["id"], connection.transaction_manager.get())
                except (UndoError, ConflictError, IndexError):
                    refused += 1  # a pack took away what it would restore, or the history of it
                else:
                    undone += 1
                    with db.transaction() as connection:
                        shown = connection.root()["undone"]
                        assert (shown["value"], shown["below"]["of"]) == before
        finally:
            done.set()
            packing.join(60)
        assert not failed, failed
        assert undone >= 20 and len(packs) >= 4, f"{undone} were undone, {refused} were not, after packs {packs}"

        db.pack()
        assert len(db.storage) == 3
        check_equal(cluster)
        db.close()
