"""Load from client processes, and what to make of the histories they write."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import ZODB

from springtide.testing.admin import compare
from springtide.testing.cluster import LocalCluster
from tests.cluster import client_process

SCRIPT = Path(client_process.__file__)
WAIT_SECONDS = 60.0


def wait_until(what: str, condition: Callable[[], Any], seconds: float = WAIT_SECONDS) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"not within {seconds:.0f} s: {what}"
        time.sleep(0.01)
    return value


@dataclass
class Written:
    """The events that a process writes into a file, each read once."""

    file: Path
    _events: defaultdict[str, list[dict[str, Any]]] = field(default_factory=lambda: defaultdict(list))
    _bytes: int = 0

    def events(self, event: str) -> list[dict[str, Any]]:
        if self.file.exists():
            with self.file.open("rb") as file:
                file.seek(self._bytes)
                whole, newline, _ = file.read().rpartition(b"\n")
            self._bytes += len(whole + newline)
            for line in whole.splitlines():
                each = json.loads(line)
                self._events[each["event"]].append(each)
        return self._events[event]


@dataclass
class Load:
    """Client processes that commit to a cluster as long as the block lasts."""

    cluster: LocalCluster
    directory: Path
    clients: int = 4
    _processes: list[subprocess.Popen[bytes]] = field(default_factory=list)
    _written: list[Written] = field(default_factory=list)

    def __enter__(self) -> Load:
        client_process.set_up(self.cluster.storage(), self.clients)
        wait_until_all_know(self.cluster)
        for number in range(self.clients):
            command = [sys.executable, str(SCRIPT), ",".join(self.cluster.addresses), str(number)]
            self._written.append(Written(self.directory / f"client-{number}.jsonl"))
            command += [str(self._written[number].file), str(self.hold(number))]
            with self._log(number).open("wb") as log:
                self._processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log))
        wait_until("every client commits", lambda: all(self.committed(n) for n in range(self.clients)))
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        for number, process in enumerate(self._processes):
            self.hold(number).unlink(missing_ok=True)
            try:
                process.wait(WAIT_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _log(self, number: int) -> Path:
        return self.directory / f"client-{number}.log"

    def hold(self, number: int) -> Path:
        """While this file exists, the client waits between vote and finish."""
        return self.directory / f"client-{number}.hold"

    def events(self, number: int, event: str) -> list[dict[str, Any]]:
        return self._written[number].events(event)

    def committed(self, number: int) -> list[dict[str, Any]]:
        return self.events(number, "committed")

    def hold_one(self, number: int) -> None:
        """Return when this client has voted and not finished."""
        before = len(self.events(number, "held"))
        self.hold(number).touch()
        wait_until(f"client {number} holds a vote", lambda: len(self.events(number, "held")) > before)

    def first_commit_begun_after(self, moment: float) -> float:
        """When the first transaction that began after ``moment`` was acknowledged."""

        def first() -> float | None:
            all_ = (each for number in range(self.clients) for each in self.committed(number))
            return min((each["ended"] for each in all_ if each["began"] > moment), default=None)

        return float(wait_until("writes go on", first))

    def total(self) -> int:
        return sum(len(self.committed(number)) for number in range(self.clients))

    def check(self) -> str:
        """After the block: nothing lost, none doubled, nothing failed but what was retried. A line that says so."""
        for number, process in enumerate(self._processes):
            assert process.returncode == 0, self._log(number).read_text()
        failed = [each for number in range(self.clients) for each in self.events(number, "failed")]
        assert failed == []
        db = ZODB.DB(self.cluster.storage())
        try:
            with db.transaction() as connection:
                root = connection.root()
                counted = 0
                for number in range(self.clients):
                    journal = root["journals"][str(number)]
                    acknowledged = [each["entry"] for each in self.committed(number)]
                    assert list(journal["entries"]) == acknowledged, f"client {number}: lost, or not asked for"
                    assert journal["count"] == len(acknowledged), f"client {number}: committed twice"
                    counted += journal["count"]
                assert root["total"]() == counted
        finally:
            db.close()
        retried = sum(len(self.events(number, "retried")) for number in range(self.clients))
        return f"{counted} commits acknowledged, 0 lost, 0 doubled, {retried} retried"


def wait_until_all_know(cluster: LocalCluster) -> None:
    """Until every node knows of every commit: a new client sees it, whichever it asks first."""
    cluster.wait_for("all nodes know the same commit point", lambda s: all(not n["behind"] for n in s["nodes"]))


def check_equal(cluster: LocalCluster) -> None:
    """All nodes hold the same, record for record."""
    cluster.wait_in_sync()
    wait_until_all_know(cluster)
    with cluster.admin() as admin:
        found = compare(admin)
    assert (found.differences, found.not_asked) == ([], [])
    assert sorted(found.nodes) == sorted(cluster.nodes)
