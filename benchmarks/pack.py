"""Pack a database of many objects on a cluster of three nodes, and compare what stays with FileStorage's pack.

    python benchmarks/pack.py --objects 2000000 [--zlib]

A tree hangs from the root; a part of the objects was cut off from it and is garbage, a part has old revisions. The
same transactions go to a FileStorage and to the cluster. Prints how long both packs took, the most memory that each
process had, how long commits took before and during the pack, and whether both kept the same records: 1 if not.
"""

from __future__ import annotations

import argparse
import io
import os
import pickle
import statistics
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from persistent.mapping import PersistentMapping
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.serialize import referencesf

from springtide.testing.cluster import LocalCluster

FANOUT = 100
A_TRANSACTION = 5_000


class Reference:
    def __init__(self, oid: bytes) -> None:
        self.oid = oid


class Pickler(pickle.Pickler):
    def persistent_id(self, given: object) -> object:
        return (given.oid, PersistentMapping) if isinstance(given, Reference) else None


def record(children: range, note: int, squeeze: bool) -> bytes:
    written = io.BytesIO()
    Pickler(written, 3).dump((PersistentMapping, None))
    Pickler(written, 3).dump({"data": {"note": note, "children": [Reference(oid(n)) for n in children]}})
    data = written.getvalue()
    return b".z" + zlib.compress(data) if squeeze else data


def oid(number: int) -> bytes:
    return number.to_bytes(8, "big")


def children(number: int, objects: int) -> range:
    first = number * FANOUT + 1
    return range(min(first, objects), min(first + FANOUT, objects))


def writes(objects: int, squeeze: bool) -> Iterator[tuple[bytes, bytes]]:
    """The whole tree; then every tenth object again; then the root without the first part of its children."""
    for number in range(objects):
        yield oid(number), record(children(number, objects), 0, squeeze)
    for number in range(1, objects, 10):
        yield oid(number), record(children(number, objects), 1, squeeze)
    yield oid(0), record(children(0, objects)[FANOUT // 5 :], 2, squeeze)


def fill(storage: FileStorage, objects: int, squeeze: bool) -> None:
    serials: dict[bytes, bytes] = {}
    waiting: list[tuple[bytes, bytes]] = []

    def commit() -> None:
        t = TransactionMetaData()
        storage.tpc_begin(t)
        for name, data in waiting:
            storage.store(name, serials.get(name, bytes(8)), data, "", t)
        storage.tpc_vote(t)
        tid = storage.tpc_finish(t)
        serials.update((name, tid) for name, _ in waiting)
        waiting.clear()

    for name, data in writes(objects, squeeze):
        waiting.append((name, data))
        if len(waiting) == A_TRANSACTION or name == oid(0):
            commit()
    if waiting:
        commit()


class Memory:
    """The most resident memory of each process below this one, looked at every now and then."""

    def __init__(self) -> None:
        self.most: dict[str, int] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def _look(self) -> None:
        while not self._stop.wait(0.25):
            for path in Path("/proc").glob("[0-9]*"):
                try:
                    command = (path / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                    lines = (path / "status").read_text().splitlines()
                except OSError:
                    continue
                mine = str(path) == f"/proc/{os.getpid()}"
                if mine or ("springtide" in command and tempfile.gettempdir() in command):
                    resident = next((int(line.split()[1]) for line in lines if line.startswith("VmRSS")), 0)
                    name = "this process" if mine else self._name(command)
                    self.most[name] = max(self.most.get(name, 0), resident)

    @staticmethod
    def _name(command: str) -> str:
        parts = command.split()
        return "the process that marks" if "packing_child" in command else parts[-1].rpartition("/")[2]

    def end(self) -> None:
        self._stop.set()
        self._thread.join()


class Commits:
    """One small commit after the other, and how long each took."""

    def __init__(self, storage: Any) -> None:
        self.seconds: list[float] = []
        self._stop = threading.Event()
        self._storage = storage
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        storage, serial = self._storage, bytes(8)
        name = storage.new_oid()
        while not self._stop.wait(0.02):
            began = time.perf_counter()
            t = TransactionMetaData()
            storage.tpc_begin(t)
            storage.store(name, serial, record(range(0), len(self.seconds), False), "", t)
            storage.tpc_vote(t)
            serial = storage.tpc_finish(t)
            self.seconds.append(time.perf_counter() - began)

    def end(self) -> str:
        self._stop.set()
        self._thread.join()
        median = statistics.median(self.seconds)
        worst = statistics.quantiles(self.seconds, n=20)[-1] if len(self.seconds) > 20 else max(self.seconds)
        return f"{1000 * median:.1f} ms in the median, {1000 * worst:.1f} ms for 19 of 20, of {len(self.seconds):,}"


def records(storage: Any, through: bytes) -> Iterator[tuple[bytes, bytes, bytes | None]]:
    """In tid order, those of one transaction in the order of their oids."""
    for t in storage.iterator(None, through):
        yield from sorted((r.tid, r.oid, r.data) for r in t)


def same(one: Any, other: Any, through: bytes) -> bool:
    mine, others, count = records(one, through), records(other, through), 0
    for left in mine:
        if left != next(others, None):
            print(f"they part at {left[0].hex()} {left[1].hex()}, after {count:,} records")
            return False
        count += 1
    print(f"records kept, the same in both    {count:,}")
    return next(others, None) is None


def unsqueezed(data: bytes) -> list[bytes]:
    return referencesf(zlib.decompress(data[2:]) if data.startswith(b".z") else data)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2_000_000)
    parser.add_argument("--zlib", action="store_true", help="compress records as zc.zlibstorage does")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory, LocalCluster(3) as cluster:
        file = FileStorage(os.path.join(directory, "Data.fs"))
        began = time.perf_counter()
        fill(file, options.objects, options.zlib)
        print(f"{options.objects:,} objects in a FileStorage    {time.perf_counter() - began:.1f} s")
        storage = cluster.storage(timeout=300, finish_timeout=300)
        began = time.perf_counter()
        storage.copyTransactionsFrom(file)
        print(f"copied into the cluster           {time.perf_counter() - began:.1f} s")
        last = file.lastTransaction()

        before = Commits(storage)
        time.sleep(5)
        print(f"a commit before the pack          {before.end()}")
        memory, during = Memory(), Commits(storage)
        began = time.perf_counter()
        storage.pack(time.time(), unsqueezed)
        took = time.perf_counter() - began
        print(f"a commit during the pack          {during.end()}")
        memory.end()
        print(f"the cluster's pack                {took:.1f} s")
        began = time.perf_counter()
        file.pack(time.time(), unsqueezed)
        print(f"FileStorage's pack                {time.perf_counter() - began:.1f} s")
        for name, kilobytes in sorted(memory.most.items()):
            print(f"memory of {name:24s}{kilobytes / 1024:.0f} MB")
        return 0 if same(file, storage, last) else 1


if __name__ == "__main__":
    raise SystemExit(main())
