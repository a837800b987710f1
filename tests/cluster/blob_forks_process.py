"""An application that has used blobs, and then forks: parent and children go on, each by itself.

    python blob_forks_process.py ADDRESSES BLOB-DIR

Ends with 0 where every process has read what it should. Children are forked while a thread of the parent
commits and reads blobs all the time.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading

import ZODB
from BTrees.OOBTree import OOBTree
from transaction.interfaces import TransientError
from ZODB.blob import Blob

import springtide

CHILDREN = 6
CONTENT = b"before the fork" * 100_000


def committed(db: ZODB.DB, name: str, content: bytes) -> None:
    done = False
    while not done:
        with contextlib.suppress(TransientError):
            with db.transaction() as connection:
                connection.root()["blobs"][name] = Blob(content)
            done = True


def read(db: ZODB.DB, name: str) -> bytes:
    with db.transaction() as connection, connection.root()["blobs"][name].open() as file:
        return bytes(file.read())


def child(db: ZODB.DB, name: str) -> None:
    assert read(db, "first") == CONTENT
    committed(db, name, name.encode() * 10_000)
    assert read(db, name) == name.encode() * 10_000


def main() -> None:
    addresses, blob_dir = sys.argv[1:]
    db = ZODB.DB(springtide.ClusterStorage(addresses, blob_dir=blob_dir, blob_cache_size=10_000_000))
    with db.transaction() as connection:
        connection.root()["blobs"] = OOBTree()
    committed(db, "first", CONTENT)
    stopping, failures = threading.Event(), []

    def busy() -> None:
        try:
            count = 0
            while not stopping.is_set():
                count += 1
                committed(db, "busy", b"%d" % count * 10_000)
                assert read(db, "busy") == b"%d" % count * 10_000
        except BaseException as failure:
            failures.append(failure)
            raise

    thread = threading.Thread(target=busy)
    thread.start()
    children = []
    for number in range(CHILDREN):
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                child(db, f"child {number}")
                status = 0
            finally:
                os._exit(status)
        children.append(pid)
    statuses = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in children]
    stopping.set()
    thread.join()
    assert (statuses, failures) == ([0] * CHILDREN, []), (statuses, failures)
    db.storage.sync()
    for number in range(CHILDREN):
        assert read(db, f"child {number}") == f"child {number}".encode() * 10_000
    db.close()


if __name__ == "__main__":
    main()
