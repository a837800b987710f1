"""A process that reads and writes with a cache_dir, until it is killed. Every answer is checked.

    python cache_process.py ADDRESSES DIRECTORY SEED

Objects 1 to ``OBJECTS`` hold their own number and a count, so that a wrong record would be seen. Prints a line for each
thousand reads; ends with a traceback where anything was wrong.
"""

from __future__ import annotations

import logging
import random
import sys

from transaction.interfaces import TransientError
from ZODB.Connection import TransactionMetaData
from ZODB.utils import p64, z64

import springtide
from springtide.records.ids import next_tid

OBJECTS = 50


def value(number: int, count: int) -> bytes:
    return b"%d:%d:" % (number, count) + b"." * (number * 40)


def read(storage: springtide.ClusterStorage, number: int) -> tuple[int, bytes]:
    """The count and the serial of an object, at one snapshot, asked twice."""
    before = next_tid(storage.lastTransaction())
    found = storage.loadBefore(p64(number), before)
    assert found is not None
    data, serial, _ = found
    mine, count, _ = data.split(b":", 2)
    assert int(mine) == number and data == value(number, int(count)), data[:40]
    assert storage.loadBefore(p64(number), before)[:2] == (data, serial)
    return int(count), serial


def write(storage: springtide.ClusterStorage, numbers: list[int], counts: dict[int, tuple[int, bytes]]) -> None:
    meta = TransactionMetaData()
    storage.tpc_begin(meta)
    try:
        for number in numbers:
            count, serial = counts.get(number, (0, z64))
            storage.store(p64(number), serial, value(number, count + 1), "", meta)
        storage.tpc_vote(meta)
        storage.tpc_finish(meta)
    except TransientError:
        storage.tpc_abort(meta)


def main() -> None:
    addresses, directory, seed = sys.argv[1:]
    logging.getLogger("ZODB.ConflictResolution").disabled = True  # these are no pickles
    chance = random.Random(seed)
    storage = springtide.ClusterStorage(addresses, cache_dir=directory, cache_bytes=40_000)
    seen: dict[int, int] = {}
    reads = 0
    while True:
        numbers = chance.sample(range(1, OBJECTS + 1), 5)
        counts = {}
        for number in numbers:
            counts[number] = read(storage, number)
            assert counts[number][0] >= seen.get(number, 0), f"object {number} went back to {counts[number]}"
            seen[number] = counts[number][0]
            reads += 1
        if chance.random() < 0.3:
            write(storage, numbers[:2], counts)
        if reads % 500 == 0:
            print(reads, flush=True)


if __name__ == "__main__":
    main()
