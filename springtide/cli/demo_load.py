"""What the demo's clients do: the ZODB introduction's car, and commits that can be counted afterwards."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import transaction
import ZODB
from BTrees.IOBTree import IOBTree
from persistent import Persistent
from persistent.list import PersistentList
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError

WHEELS, SCREWS = 4, 5


class Car(Persistent):  # type: ignore[misc]
    def __init__(self, name: str) -> None:
        self.name = name
        self.wheels = PersistentList([Wheel() for _ in range(WHEELS)])

    def __str__(self) -> str:
        turns = sum(screw.turns for wheel in self.wheels for screw in wheel.screws)
        return f"{self.name}: {len(self.wheels)} wheels, {SCREWS * len(self.wheels)} screws, tightened {turns} times"


class Wheel(Persistent):  # type: ignore[misc]
    """Its screws are not persistent: they live in the wheel's own record.

    Two clients may tighten screws of one wheel at the same time: ZODB then asks the wheel.
    """

    def __init__(self) -> None:
        self.screws = [Screw() for _ in range(SCREWS)]

    def tighten(self, which: int) -> None:
        self.screws[which].turns += 1
        self._p_changed = True

    def _p_resolveConflict(self, old: Any, saved: Any, new: Any) -> Any:
        """What both did to the wheel as it was."""
        for screw, before, other in zip(new["screws"], old["screws"], saved["screws"], strict=True):
            screw.turns += other.turns - before.turns
        return new


class Screw:
    def __init__(self) -> None:
        self.turns = 0


class Journal(Persistent):  # type: ignore[misc]
    """What one client committed: each number once, and how often it committed at all."""

    def __init__(self) -> None:
        self.count = 0
        self.entries = IOBTree()


def set_up(db: Any, clients: int) -> None:
    with db.transaction("the car and its clients' journals") as connection:
        root = connection.root()
        root["car"] = Car("a car")
        root["journals"] = PersistentMapping({client: Journal() for client in range(clients)})


@dataclass(slots=True)
class Tally:
    """What all clients saw. Guarded by ``lock``."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    acknowledged: dict[int, list[int]] = field(default_factory=dict)
    #: When each acknowledged transaction began and ended.
    times: list[tuple[float, float]] = field(default_factory=list)
    unknown: dict[int, list[int]] = field(default_factory=dict)
    retried: int = 0
    errors: list[str] = field(default_factory=list)

    def total(self) -> int:
        with self.lock:
            return len(self.times)

    def first_begun_after(self, moment: float) -> float | None:
        """When the first transaction that began after ``moment`` was acknowledged."""
        with self.lock:
            return next((ended for began, ended in self.times if began > moment), None)


class Client(threading.Thread):
    """Commits one transaction after the other until told to stop, and retries as an application does."""

    def __init__(self, number: int, storage: Callable[[], Any], tally: Tally, stopping: threading.Event) -> None:
        super().__init__(name=f"client-{number}", daemon=True)
        self.number = number
        self._storage = storage
        self._tally = tally
        self._stopping = stopping

    def run(self) -> None:
        try:
            db = ZODB.DB(self._storage())
            try:
                self._commit_until_stopped(db)
            finally:
                db.close()
        except Exception as error:
            with self._tally.lock:
                self._tally.errors.append(f"{self.name}: {type(error).__name__}: {error}")

    def _commit_until_stopped(self, db: Any) -> None:
        from springtide.client.errors import CommitOutcomeUnknown

        manager = transaction.TransactionManager()
        connection = db.open(manager)
        entry = 0
        while not self._stopping.is_set():
            began = time.monotonic()
            manager.begin()
            try:
                self._change(connection.root(), entry)
                manager.commit()
            except TransientError:
                manager.abort()
                with self._tally.lock:
                    self._tally.retried += 1
                continue
            except CommitOutcomeUnknown:
                manager.abort()
                with self._tally.lock:
                    self._tally.unknown.setdefault(self.number, []).append(entry)
            else:
                with self._tally.lock:
                    self._tally.acknowledged.setdefault(self.number, []).append(entry)
                    self._tally.times.append((began, time.monotonic()))
            entry += 1

    def _change(self, root: Any, entry: int) -> None:
        journal = root["journals"][self.number]
        journal.count += 1
        journal.entries[entry] = entry
        # Clients share the wheels, and so meet conflicts now and then.
        wheel = root["car"].wheels[(self.number + entry) % WHEELS]
        wheel.tighten(entry % SCREWS)


class Reader(threading.Thread):
    """Reads the whole car again and again, always from the nodes."""

    def __init__(self, storage: Callable[[], Any], stopping: threading.Event, tally: Tally) -> None:
        super().__init__(name="reader", daemon=True)
        self._storage = storage
        self._stopping = stopping
        self._tally = tally

    def run(self) -> None:
        try:
            db = ZODB.DB(self._storage())
            try:
                while not self._stopping.is_set():
                    try:
                        self._read(db)
                    except TransientError:
                        with self._tally.lock:
                            self._tally.retried += 1
                    self._stopping.wait(0.005)
            finally:
                db.close()
        except Exception as error:
            with self._tally.lock:
                self._tally.errors.append(f"{self.name}: {type(error).__name__}: {error}")

    def _read(self, db: Any) -> None:
        connection = db.open(transaction.TransactionManager())
        try:
            connection.cacheMinimize()
            str(connection.root()["car"])
        finally:
            connection.transaction_manager.abort()
            connection.close()


@dataclass(frozen=True, slots=True)
class Found:
    """What a fresh client finds of what was acknowledged."""

    lost: int
    doubled: int
    car: str


def look(db: Any, tally: Tally) -> Found:
    with db.transaction() as connection:
        root = connection.root()
        lost = doubled = turns = 0
        for number, journal in sorted(root["journals"].items()):
            acknowledged = set(tally.acknowledged.get(number, ()))
            unknown = set(tally.unknown.get(number, ()))
            there = set(journal.entries.keys())
            lost += len(acknowledged - there)
            # Every commit counts once; one that happened twice counts twice and is one entry.
            doubled += journal.count - len(there) + len(there - acknowledged - unknown)
            turns += journal.count
        car = root["car"]
        tightened = sum(screw.turns for wheel in car.wheels for screw in wheel.screws)
        return Found(lost, doubled + abs(tightened - turns), str(car))
