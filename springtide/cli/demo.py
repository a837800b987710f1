"""``springtide demo``: a cluster under load loses its primary, and nothing else."""

from __future__ import annotations

import contextlib
import json
import logging
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import ZODB
from rich.console import Console
from rich.status import Status
from rich.table import Table

from springtide.cli import demo_load as load
from springtide.testing.admin import compare
from springtide.testing.cluster import LocalCluster, Store

#: Takeovers take about a second; this is for machines that are busy with other things.
TAKEOVER_SECONDS_MAX = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    keep: bool
    as_json: bool
    store: Store
    seconds: float
    clients: int


@dataclass(slots=True)
class Figures:
    #: Empty where the cluster ends with the demo.
    uri: str = ""
    store: str = ""
    seconds: float = 0.0
    acknowledged: int = 0
    commits_per_second: float = 0.0
    lost: int = 0
    doubled: int = 0
    unknown: int = 0
    retried: int = 0
    killed: str = ""
    took_over: str = ""
    takeover_seconds: float | None = None
    reads: dict[str, int] = field(default_factory=dict)
    records_compared: int = 0
    nodes_equal: bool = False
    problems: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        return not self.problems


def run(options: Options) -> int:
    # What is said on the way goes to stderr where stdout is for a script.
    console = Console(stderr=options.as_json)
    with _stoppable(), LocalCluster(3, options.store) as cluster:
        # That sessions are lost is the point here; what clients log of it is kept beside the nodes' logs.
        logging.basicConfig(filename=cluster.directory / "clients.log", level=logging.INFO, force=True)
        figures = Figures(cluster.uri if options.keep else "", options.store, options.seconds)
        _Demo(cluster, options, console, figures).run()
        figures.problems += _problems(figures)
        if options.as_json:
            print(json.dumps(asdict(figures), indent=2), flush=True)
        else:
            _print(console, figures)
        if options.keep:
            _keep(cluster, console)
    return 0 if figures.good else 1


@contextlib.contextmanager
def _stoppable() -> Iterator[None]:
    """SIGTERM ends the demo as Ctrl-C does: with its processes."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


class _Demo:
    """One run, told as it happens; ``figures`` is what it found."""

    def __init__(self, cluster: LocalCluster, options: Options, console: Console, figures: Figures) -> None:
        self._cluster = cluster
        self._options = options
        self._console = console
        self._figures = figures
        self._tally = load.Tally()
        self._stopping = threading.Event()
        self._reads_before: dict[str, int] = {}
        self._began = 0.0

    def run(self) -> None:
        cluster = self._cluster
        self._say(f"three nodes and {_STORES[self._options.store]} are up in {cluster.directory}: {cluster.uri}")
        db = ZODB.DB(cluster.storage())
        try:
            load.set_up(db, self._options.clients)
            self._say(f"a car is in the database; {self._options.clients} clients commit, one reads")
            workers = self._start()
            with Status("", console=self._console) as live:
                self._kill_and_return(live)
            self._stopping.set()
            for worker in workers:
                worker.join(TAKEOVER_SECONDS_MAX)
            self._count(db)
            self._compare()
        finally:
            self._stopping.set()
            db.close()

    def _start(self) -> list[threading.Thread]:
        storage, stopping, tally = self._cluster.storage, self._stopping, self._tally
        workers: list[threading.Thread] = [
            load.Client(number, storage, tally, stopping) for number in range(self._options.clients)
        ]
        # A cache this small holds nothing worth mentioning, so what is read is read from nodes.
        workers.append(load.Reader(lambda: storage(cache_bytes=1), stopping, tally))
        for worker in workers:
            worker.start()
        self._began = time.monotonic()
        return workers

    def _kill_and_return(self, live: Status) -> None:
        cluster, figures, third = self._cluster, self._figures, self._options.seconds / 3
        self._watch(live, third)
        self._reads_before = self._reads()
        figures.killed = cluster.primary()
        cluster.kill(figures.killed)
        killed_at = time.monotonic()
        self._say(f"[red]kill -9[/] of node {figures.killed}, the primary, after {self._tally.total()} commits")
        first = self._first_commit_after(killed_at, live)
        if first is None:
            return
        figures.takeover_seconds = round(first - killed_at, 3)
        figures.took_over = cluster.primary()
        self._say(f"node {figures.took_over} leads: commits go on after [bold]{first - killed_at:.2f} s[/]")
        self._watch(live, third)
        cluster.start(figures.killed)
        cluster.wait_in_sync(timeout=TAKEOVER_SECONDS_MAX)
        self._say(f"node {figures.killed} is back, has copied what it missed, and is in sync")
        self._watch(live, third)

    def _first_commit_after(self, moment: float, live: Status) -> float | None:
        deadline = moment + TAKEOVER_SECONDS_MAX
        while time.monotonic() < deadline:
            first = self._tally.first_begun_after(moment)
            if first is not None:
                return first
            self._watch(live, 0.02)
        self._figures.problems.append(f"no commit within {TAKEOVER_SECONDS_MAX:.0f} s of the primary's end")
        return None

    def _watch(self, live: Status, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            live.update(f"{time.monotonic() - self._began:5.1f} s  {self._tally.total()} commits acknowledged")
            time.sleep(min(left, 0.1))

    def _reads(self) -> dict[str, int]:
        return {node["node"]: node["reads_served"] for node in self._cluster.status()["nodes"] if node["reachable"]}

    def _count(self, db: Any) -> None:
        figures, tally = self._figures, self._tally
        reads, killed = self._reads(), figures.killed
        # Counters begin again with a process.
        reads[killed] = reads.get(killed, 0) + self._reads_before.get(killed, 0)
        figures.reads = dict(sorted(reads.items()))
        found = load.look(db, tally)
        figures.lost, figures.doubled = found.lost, found.doubled
        figures.acknowledged = tally.total()
        figures.commits_per_second = round(figures.acknowledged / (time.monotonic() - self._began), 1)
        figures.unknown = sum(map(len, tally.unknown.values()))
        figures.retried = tally.retried
        figures.problems += tally.errors
        self._say(str(found.car))

    def _compare(self) -> None:
        # Replicas learn the last commit point with the next heartbeat.
        self._cluster.wait_for("all nodes have committed the same", _level)
        with self._cluster.admin() as admin:
            found = compare(admin)
        self._figures.records_compared = found.records
        self._figures.nodes_equal = found.equal
        self._figures.problems += found.differences + found.not_asked

    def _say(self, text: str) -> None:
        self._console.print(f"[green]>[/] {text}", highlight=False, soft_wrap=True)


def _level(status: dict[str, Any]) -> bool:
    return all(node["reachable"] and node["behind"] == 0 for node in status["nodes"])


_STORES = {"embedded": "an embedded coordinator", "etcd": "an etcd"}


def _problems(figures: Figures) -> list[str]:
    found = []
    if figures.acknowledged == 0:
        found.append("nothing was committed")
    if figures.lost:
        found.append(f"{figures.lost} acknowledged commits are lost")
    if figures.doubled:
        found.append(f"{figures.doubled} commits happened twice, or without having been asked for")
    if figures.took_over == figures.killed:
        found.append("no other node took over")
    if not figures.nodes_equal:
        found.append("the nodes do not hold the same")
    return found


def _print(console: Console, figures: Figures) -> None:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    takeover = "none" if figures.takeover_seconds is None else f"{figures.takeover_seconds:.2f} s"
    same = "yes" if figures.nodes_equal else "[red]no[/]"
    for name, value in (
        ("commits acknowledged", f"{figures.acknowledged} ({figures.commits_per_second:.0f} a second)"),
        ("lost", f"[bold {'red' if figures.lost else 'green'}]{figures.lost}[/]"),
        ("doubled", str(figures.doubled)),
        ("retried by clients", str(figures.retried)),
        ("outcome unknown", str(figures.unknown)),
        ("takeover", f"{takeover} (from {figures.killed} to {figures.took_over or 'none'})"),
        ("reads served", "  ".join(f"{node} {count}" for node, count in figures.reads.items())),
        ("nodes equal, record for record", f"{same} ({figures.records_compared} records each)"),
    ):
        table.add_row(name, value)
    console.print(table, highlight=False)
    for problem in figures.problems:
        console.print(f"[red]problem:[/] {problem}", highlight=False)


def _keep(cluster: LocalCluster, console: Console) -> None:
    console.print(f"the cluster keeps running at {cluster.uri}; Ctrl-C ends it", highlight=False, soft_wrap=True)
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
