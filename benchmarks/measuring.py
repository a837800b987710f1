"""What benchmarks look at: how long commits take, how much memory and processor time the processes had."""

from __future__ import annotations

import os
import statistics
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ZODB.Connection import TransactionMetaData

TICKS = os.sysconf("SC_CLK_TCK")
#: Between two looks at processes that may be gone soon.
LOOK_SECONDS = 0.5


def store(storage: Any, writes: Sequence[tuple[bytes, bytes, bytes]]) -> bytes:
    """Commit oids with their serials and records; the tid."""
    t = TransactionMetaData()
    storage.tpc_begin(t)
    for name, serial, data in writes:
        storage.store(name, serial, data, "", t)
    storage.tpc_vote(t)
    tid: bytes = storage.tpc_finish(t)
    return tid


class Commits:
    """One small commit after the other, and how long each took."""

    def __init__(self, storage: Any, data: bytes) -> None:
        self.seconds: list[float] = []
        self._storage, self._data = storage, data
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        name, serial = self._storage.new_oid(), bytes(8)
        while not self._stop.wait(0.01):
            began = time.perf_counter()
            serial = store(self._storage, [(name, serial, self._data)])
            self.seconds.append(time.perf_counter() - began)

    def end(self) -> None:
        self._stop.set()
        self._thread.join()

    def times(self) -> tuple[float, float]:
        """The median, and what 19 of 20 took at most, in milliseconds."""
        return 1000 * statistics.median(self.seconds), 1000 * statistics.quantiles(self.seconds, n=20)[-1]

    def summary(self) -> str:
        median, most = self.times()
        return f"{median:.1f} ms in the median, {most:.1f} ms for 19 of 20, of {len(self.seconds):,}"


class Memory:
    """The most memory that each process of a cluster has had: of its own, and with the pages of files that it maps.

    Few processes are looked at, and seldom: who looks takes time from the client that is measured.
    """

    def __init__(self) -> None:
        self._most: dict[str, dict[str, int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while not self._stop.wait(LOOK_SECONDS):
            self._look()

    def _look(self) -> None:
        for process in below(os.getpid()):
            most = self._most.setdefault(_name(process), {})
            for line in _read(process, "status").splitlines():
                kind, _, rest = line.partition(":")
                if kind in ("RssAnon", "VmHWM"):
                    most[kind] = max(most.get(kind, 0), int(rest.split()[0]) // 1024)

    def end(self) -> list[str]:
        self._stop.set()
        self._thread.join()
        self._look()
        return [
            f"memory of {name:24s}{most.get('RssAnon', 0)} MB, with mapped files {most.get('VmHWM', 0)} MB"
            for name, most in sorted(self._most.items())
        ]


def processor_seconds() -> float:
    """What the processes below this one, and those of them that have ended, have taken so far."""
    took = 0.0
    for process in below(os.getpid()):
        if fields := _read(process, "stat").rpartition(")")[2].split():
            took += sum(map(int, fields[11:15])) / TICKS
    return took


def below(process: int) -> Iterator[int]:
    for thread in Path(f"/proc/{process}/task").glob("*/children"):
        try:
            children = [int(child) for child in thread.read_text().split()]
        except OSError:
            continue
        for child in children:
            yield child
            yield from below(child)


def _name(process: int) -> str:
    command = _read(process, "cmdline").replace("\0", " ").split() or ["?"]
    return "the process that marks" if any("packing_child" in part for part in command) else Path(command[-1]).name


def _read(process: int, what: str) -> str:
    try:
        return Path(f"/proc/{process}/{what}").read_text()
    except OSError:
        return ""  # it is gone
