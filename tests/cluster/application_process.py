"""Applications as they run: forking servers, greenlets, processes that just end. One each per start of this file.

    python application_process.py KIND ADDRESSES [COUNT [DIRECTORY]]

Ends with status 0 and nothing on stderr where all was as it should be.
"""

from __future__ import annotations

import os
import signal
import sys

if __name__ == "__main__" and sys.argv[1].startswith("gevent"):  # which patches what is imported afterwards
    from gevent import monkey

    monkey.patch_all()

import faulthandler
import threading
import time
from collections.abc import Callable
from typing import Any

import transaction
import ZODB
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError
from ZODB.blob import Blob
from ZODB.interfaces import IBlobStorage

import springtide
from springtide.testing.cluster import LocalCluster

WORKERS = 3
#: A child that has not ended by then shows where it hangs.
CHILD_SECONDS = 30


def set_up(db: Any) -> None:
    with db.transaction() as connection:
        root = connection.root()
        root["children"] = PersistentMapping()
        for worker in range(WORKERS):
            root[f"worker {worker}"] = PersistentMapping(count=0)


def count(db: Any, worker: int, go_on: Callable[[int], bool]) -> int:
    """Commit, again and again, and return how often that was."""
    manager = transaction.TransactionManager(explicit=True)
    connection = db.open(manager)
    done = 0
    while go_on(done):
        manager.begin()
        try:
            connection.root()[f"worker {worker}"]["count"] += 1
            manager.commit()
            done += 1
        except TransientError:
            manager.abort()
    connection.close()
    return done


def counted(db: Any) -> list[int]:
    with db.transaction() as connection:
        return [connection.root()[f"worker {worker}"]["count"] for worker in range(WORKERS)]


# -- forks ------------------------------------------------------------------------------------------


def child(db: Any, number: int) -> None:
    faulthandler.dump_traceback_later(CHILD_SECONDS, exit=True)
    manager = transaction.TransactionManager()
    connection = db.open(manager)
    for attempt in manager.attempts(100):
        with attempt:
            connection.root()["children"][number] = os.getpid()
    manager.begin()
    assert connection.root()["children"][number] == os.getpid(), "a child reads what it committed"
    assert connection.root()["worker 0"]["count"] > 0, "and what the parent did"
    if IBlobStorage.providedBy(db.storage):
        for attempt in manager.attempts(100):
            with attempt:
                connection.root()["children"][number] = Blob(str(number).encode())
        manager.begin()
        with connection.root()["children"][number].open() as file:
            assert file.read() == str(number).encode()


def fork(db: Any, number: int) -> int:
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            child(db, number)
            status = 0
        except BaseException:
            sys.excepthook(*sys.exc_info())
        finally:
            os._exit(status)
    return pid


def forks(addresses: str, number: int, directory: str | None = None) -> None:
    """Children by the hundred, a few at a time, while the parent's threads commit and commit.

    With ``directory``, they share one for records and one for blobs.
    """
    places = {} if directory is None else {"cache_dir": f"{directory}/cache", "blob_dir": f"{directory}/blobs"}
    db = ZODB.DB(springtide.ClusterStorage(addresses, **places))
    set_up(db)
    stopping = threading.Event()
    done = [0] * WORKERS

    def work(worker: int) -> None:
        done[worker] = count(db, worker, lambda _: not stopping.is_set())

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(WORKERS)]
    for thread in threads:
        thread.start()
    while not all(counted(db)):
        time.sleep(0.01)
    running: list[int] = []
    failed = []
    for child_number in range(number):
        running.append(fork(db, child_number))
        while len(running) == 3 or (running and child_number == number - 1):
            pid, status = os.waitpid(running.pop(0), 0)
            failed += [(pid, status)] if status else []
    before = counted(db)
    while any(now <= then for now, then in zip(counted(db), before, strict=True)):
        time.sleep(0.01)  # the parent goes on
    stopping.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert counted(db) == done, "each commit exactly once, whatever fork it met"
    with db.transaction() as connection:
        assert len(connection.root()["children"]) == number
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        pass
    else:
        raise AssertionError("a child is left")
    db.close()


def tests_of_applications(addresses: str) -> None:
    """They have a local cluster in the process that forks, which asks its nodes how they are."""
    with LocalCluster(1) as cluster:
        db = ZODB.DB(cluster.storage())
        set_up(db)
        count(db, 0, lambda done: done < 1)
        for number in range(10):
            assert cluster.primary() == "a"
            assert os.waitpid(fork(db, number), 0)[1] == 0
        db.close()


# -- greenlets --------------------------------------------------------------------------------------


def greenlets(addresses: str) -> None:
    import gevent

    db = ZODB.DB(springtide.ClusterStorage(addresses))
    set_up(db)
    ticks = 0

    def tick() -> None:
        nonlocal ticks
        while True:
            ticks += 1
            gevent.sleep(0.001)

    gevent.spawn(tick)
    working = [gevent.spawn(count, db, worker, lambda done: done < 20) for worker in range(WORKERS)]
    gevent.joinall(working, raise_error=True)
    assert counted(db) == [20] * WORKERS
    assert ticks > 20, "other greenlets run while these wait for the cluster"
    db.close()


def greenlets_of_many_storages(addresses: str) -> None:
    import gevent

    dbs = [ZODB.DB(springtide.ClusterStorage(addresses)) for _ in range(5)]
    set_up(dbs[0])
    deadline = time.monotonic() + 30
    while not all(len(db.storage._cluster._roster.readers) == 2 for db in dbs):
        assert time.monotonic() < deadline, "each storage has a session with each node"
        gevent.sleep(0.05)
    working = [gevent.spawn(count, db, at % WORKERS, lambda done: done < 5) for at, db in enumerate(dbs)]
    gevent.joinall(working, raise_error=True)
    pool = gevent.get_hub().threadpool
    assert 15 <= pool.size < pool.maxsize, "no session waits for a thread"
    for db in dbs:
        db.close()


def greenlets_and_forks(addresses: str) -> None:
    db = ZODB.DB(springtide.ClusterStorage(addresses))
    set_up(db)
    count(db, 0, lambda done: done < 1)
    for number in range(10):
        assert os.waitpid(fork(db, number), 0)[1] == 0
        count(db, 0, lambda done: done < 1)
    db.close()


# -- ends -------------------------------------------------------------------------------------------


def never_closed(addresses: str) -> None:
    set_up(ZODB.DB(springtide.ClusterStorage(addresses)))


def in_a_thread(addresses: str) -> None:
    thread = threading.Thread(target=never_closed, args=(addresses,))
    thread.start()
    thread.join()


def in_a_transaction(addresses: str) -> None:
    """It has voted, so its locks are held: other clients must not wait for them."""
    storage = springtide.ClusterStorage(addresses)
    set_up(ZODB.DB(storage))
    metadata = ZODB.Connection.TransactionMetaData()
    storage.tpc_begin(metadata)
    data, serial = storage.load(ZODB.utils.z64)
    storage.store(ZODB.utils.z64, serial, data, "", metadata)
    storage.tpc_vote(metadata)


def while_a_daemon_commits(addresses: str) -> None:
    db = ZODB.DB(springtide.ClusterStorage(addresses))
    set_up(db)
    threading.Thread(target=count, args=(db, 0, lambda _: True), daemon=True).start()
    while not counted(db)[0]:
        time.sleep(0.01)


def by_an_error(addresses: str) -> None:
    never_closed(addresses)
    raise SystemExit(0)


def without_a_cluster(addresses: str) -> None:
    storage = springtide.ClusterStorage("127.0.0.1:1", wait=False, timeout=60)
    threading.Thread(target=_lastTransaction, args=(storage,), daemon=True).start()
    time.sleep(0.2)


def _lastTransaction(storage: Any) -> None:
    storage.lastTransaction()


def closed_twice(addresses: str) -> None:
    storage = springtide.ClusterStorage(addresses)
    db = ZODB.DB(storage)
    set_up(db)
    db.close()
    db.close()
    storage.close()
    storage.close()


KINDS: dict[str, Callable[..., None]] = {
    "gevent": greenlets,
    "gevent_forks": greenlets_and_forks,
    "gevent_storages": greenlets_of_many_storages,
    "tests_of_applications": tests_of_applications,
    "never_closed": never_closed,
    "in_a_thread": in_a_thread,
    "in_a_transaction": in_a_transaction,
    "while_a_daemon_commits": while_a_daemon_commits,
    "by_an_error": by_an_error,
    "without_a_cluster": without_a_cluster,
    "closed_twice": closed_twice,
}


def show_where_it_hangs(*_: object) -> None:
    """Everything that runs, to stderr; what ``test_processes`` asks for before it gives up."""
    if "gevent" in sys.modules:
        from gevent.util import print_run_info

        print_run_info()
    else:
        faulthandler.dump_traceback(all_threads=True)


if __name__ == "__main__":
    signal.signal(signal.SIGUSR1, show_where_it_hangs)
    if sys.argv[1] == "forks":
        forks(sys.argv[2], int(sys.argv[3]), *sys.argv[4:])
    else:
        KINDS[sys.argv[1]](sys.argv[2])
