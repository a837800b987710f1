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
import tempfile
import time
import zlib
from collections.abc import Iterator
from typing import Any

from measuring import Commits, Memory, processor_seconds, store
from persistent.mapping import PersistentMapping
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
        tid = store(storage, [(name, serials.get(name, bytes(8)), data) for name, data in waiting])
        serials.update((name, tid) for name, _ in waiting)
        waiting.clear()

    for name, data in writes(objects, squeeze):
        waiting.append((name, data))
        if len(waiting) == A_TRANSACTION or name == oid(0):
            commit()
    if waiting:
        commit()


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


def packed(storage: Any, seconds: float) -> tuple[float, float, str]:
    """How long the pack took, and of the processors. ``seconds``: of commits before; 0: nobody commits."""
    small, before, during = record(range(0), 0, False), None, None
    if seconds:
        before = Commits(storage, small)
        time.sleep(seconds)
        before.end()
        during = Commits(storage, small)
    began, used = time.perf_counter(), processor_seconds()
    storage.pack(time.time(), unsqueezed)
    took, used = time.perf_counter() - began, processor_seconds() - used
    if before is None or during is None:
        return took, used, ""
    during.end()
    lines = [("before the pack", before.summary()), ("during the pack", during.summary())]
    return took, used, "".join(f"\na commit {when}          {summary}" for when, summary in lines)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=2_000_000)
    parser.add_argument("--zlib", action="store_true", help="compress records as zc.zlibstorage does")
    parser.add_argument("--seconds", type=float, default=10.0, help="of commits before the pack; 0: nobody commits")
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

        memory = Memory()
        took, used, slowed = packed(storage, options.seconds)
        print(f"the cluster's pack                {took:.1f} s, processes took {used:.1f} s{slowed}")
        looked_at = memory.end()
        began = time.perf_counter()
        file.pack(time.time(), unsqueezed)
        print(f"FileStorage's pack                {time.perf_counter() - began:.1f} s")
        print(*looked_at, sep="\n")
        return 0 if same(file, storage, last) else 1


if __name__ == "__main__":
    raise SystemExit(main())
