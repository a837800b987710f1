"""How long commits take before and during packs of a cluster of three nodes, again and again in one run.

    python benchmarks/commits_during_pack.py --objects 20000 --rounds 5

Each round replaces a tree of objects by another, so that the former is garbage; measures one small commit after the
other for some seconds; then packs, and measures them on. Prints both for each round, the median of the rounds' ratios,
and the processor time that the nodes took for the pack.
"""

from __future__ import annotations

import argparse
import statistics
import time
from typing import Any

from measuring import Commits, processor_seconds, store
from pack import FANOUT, children, oid, record

from springtide.testing.cluster import LocalCluster

#: Between the oids of one tree and those of the next, for those that the storage gives out.
GAP = 100_000_000


class Trees:
    """One tree below the root at a time."""

    def __init__(self, storage: Any, objects: int, a_transaction: int) -> None:
        self._storage, self._objects, self._a_transaction = storage, objects, a_transaction
        self._first, self._serial = 1, bytes(8)

    def replace(self) -> None:
        first, self._first = self._first, self._first + GAP

        def below(number: int) -> range:
            found = children(number, self._objects)
            return range(first + found.start, first + found.stop)

        for at in range(0, self._objects, self._a_transaction):
            names = range(at, min(at + self._a_transaction, self._objects))
            store(self._storage, [(oid(first + n), bytes(8), record(below(n), 0, False)) for n in names])
        root = record(range(first, first + 1), first, False)
        self._serial = store(self._storage, [(oid(0), self._serial, root)])


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--objects", type=int, default=20_000, help=f"of a tree of {FANOUT} children each")
    parser.add_argument(
        "--a-transaction", type=int, default=5_000, help="so many of them are stored by one transaction"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=5.0, help="of commits before each pack")
    options = parser.parse_args()
    ratios = []
    with LocalCluster(3) as cluster:
        storage, small = cluster.storage(timeout=300, finish_timeout=300), record(range(0), 0, False)
        trees = Trees(storage, options.objects, options.a_transaction)
        trees.replace()
        for at in range(options.rounds):
            trees.replace()
            time.sleep(1)
            before = Commits(storage, small)
            time.sleep(options.seconds)
            before.end()
            during, began, used = Commits(storage, small), time.perf_counter(), processor_seconds()
            storage.pack(time.time(), lambda data: [])
            took, used = time.perf_counter() - began, processor_seconds() - used
            during.end()
            usual, slowed = before.times(), during.times()
            ratios.append((slowed[0] / usual[0], slowed[1] / usual[1]))
            print(
                f"round {at + 1}: median {usual[0]:5.1f} -> {slowed[0]:5.1f} ms, 19 of 20 {usual[1]:6.1f} -> "
                f"{slowed[1]:6.1f} ms, {len(before.seconds)} and {len(during.seconds)} commits; packed in {took:.1f} s "
                f"with {used:.1f} s of processor time",
                flush=True,
            )
        storage.close()
    medians, tails = (statistics.median(column) for column in zip(*ratios, strict=True))
    print(f"ratio, median of {options.rounds} rounds: {medians:.2f} in the median, {tails:.2f} for 19 of 20")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
