"""Attack a cluster of real processes for some minutes, heal it again and again, and judge what its clients saw.

    make faults MINUTES=20 [SEED=1] [NODES=3]

Ends with status 0 where nothing that was acknowledged is lost or doubled, no checker finds anything, no client met
an error that is not documented, and the cluster was in sync and serving within ten seconds after each healing.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from springtide.testing.checkers import Outcome
from springtide.testing.workloads import WORKLOADS, Clients, set_up
from tests.cluster.verdict import commits, verdict
from tests.faults import disks, elsewhere, network, processes
from tests.faults.arena import Arena, NotTried, Story
from tests.faults.attacked import CLIENTS, STORES, Attacked, environment, names
from tests.faults.clocks import Clock
from tests.faults.leftovers import Run, reap
from tests.faults.others import SHARE_MAX, share, used
from tests.faults.schedule import Schedule
from tests.faults.summary import Summary

FAULTS = processes.FAULTS | elsewhere.FAULTS
ALONE = (*processes.ALONE, *elsewhere.ALONE)


class Commits:
    """How many commits were acknowledged so far, read from the ends of histories that grow."""

    def __init__(self, clients: Clients) -> None:
        self._clients = clients
        self._read: dict[Path, int] = {}
        self._count = 0

    def count(self) -> int:
        for file in self._clients.files:
            with file.open("rb") as opened:
                opened.seek(self._read.get(file, 0))
                data = opened.read()
            whole = data[: data.rfind(b"\n") + 1]
            self._read[file] = self._read.get(file, 0) + len(whole)
            self._count += sum(b'"event": "ok"' in line and b'"tid"' in line for line in whole.splitlines())
        return self._count


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__.partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=2.0, help="for how long faults are begun")
    parser.add_argument("--seed", type=int, default=random.randrange(10**6))
    parser.add_argument("--nodes", type=int, default=3, choices=range(3, 6))
    parser.add_argument("--only", default="", help="kinds of faults that contain this text")
    parser.add_argument("--report", type=Path, help="directory to keep the story, the summary, logs and histories in")
    told = parser.parse_args()
    for id in reap():
        print(f"cleaned after run {id}, which had not ended properly", flush=True)
    summary = Summary(told.seed, told.nodes)
    report = told.report or Path(tempfile.mkdtemp(prefix="springtide-faults-"))
    report.mkdir(parents=True, exist_ok=True)
    story = Story(report / "story.txt")
    story.say(f"seed {told.seed}")
    try:
        _run(told, summary, story, report)
    except Exception as error:
        traceback.print_exc()
        summary.failure = f"{type(error).__name__}: {error}"
    (report / "summary.json").write_text(json.dumps(summary.as_json(), indent=1))
    for line in summary.lines():
        story.say(line)
    if summary.good and told.report is None:
        shutil.rmtree(report)
    else:
        print(f"story, logs and histories are in {report}", flush=True)
    return 0 if summary.good else 1


def _run(told: argparse.Namespace, summary: Summary, story: Story, report: Path) -> None:
    nodes = names(told.nodes)
    with ExitStack() as stack:
        run = Run()
        stack.callback(run.end)
        where = _network(run, nodes, story)
        hardware = _disks(run, nodes, story)
        clock = Clock(run.directory / "clocks")
        (report / "logs").mkdir()
        cluster = Attacked(nodes, where, hardware, clock, report / "logs")
        stack.callback(cluster.close)
        cluster.start_all()
        story.say(f"{told.nodes} nodes and {len(STORES)} etcd servers are up; {cluster.primary()} leads")
        (run.directory / "tmp").mkdir()
        set_up(cluster.storage(blob_dir=run.directory / "setup"), WORKLOADS)
        clients = Clients(
            cluster.addresses,
            cluster.directory,
            tuple(WORKLOADS),
            seed=told.seed,
            # They have machines of their own but for the processors: there they come after the nodes.
            prefix=lambda number: (*where.prefix(CLIENTS[number % len(CLIENTS)]), "nice", "-n", "10"),
            environment=environment() | {"TMPDIR": str(run.directory / "tmp")},
        )
        with clients:
            arena = Arena(cluster, clients, random.Random(told.seed), story.say)
            try:
                _attack(told, arena, summary)
            except BaseException:
                arena.mend()  # else clients would not end
                raise
        story.say("no client runs any more: everything is judged")
        history = clients.history()
        summary.commits = commits(history)
        summary.transactions = {outcome.value: history.counted(outcome) for outcome in Outcome}
        summary.takeovers = max(answer.epoch for answer in cluster.answers().values()) - 1
        summary.anomalies = verdict(cluster, history, WORKLOADS, run.directory)


def _attack(told: argparse.Namespace, arena: Arena, summary: Summary) -> None:
    wanted = [kind for kind in FAULTS if told.only in kind]
    schedule = Schedule(arena.chance, wanted, ALONE)
    counted = Commits(arena.clients)
    arena.cluster.until("clients commit", lambda: counted.count() > 0)
    began = time.monotonic()
    while time.monotonic() - began < 60 * told.minutes:
        due = _round(arena, schedule, summary)
        arena.heal()
        _healed(arena, counted, summary, any(kind in elsewhere.LOSING for kind in due))
        time.sleep(arena.chance.uniform(0.2, 1.0))  # some calm, in which work is done
    summary.seconds = time.monotonic() - began


def _healed(arena: Arena, counted: Commits, summary: Summary, copies: bool) -> None:
    """Wait until everybody is in sync and clients commit, and note how long it took."""
    began, before, machine = time.monotonic(), counted.count(), used([os.getpid()])
    served = in_sync = 0.0

    def both() -> bool:
        nonlocal served, in_sync
        passed = time.monotonic() - began
        if not served and counted.count() > before:
            served = passed
        if not in_sync and arena.cluster.in_sync():
            in_sync = passed
        return bool(served and in_sync)

    arena.cluster.until("all is in sync and clients commit after healing", both, 120.0)
    others = share(machine, used([os.getpid()]))
    summary.healed(served, in_sync, copies, others, SHARE_MAX)
    arena.say(
        f"healed: serving after {served:.1f} s, in sync after {in_sync:.1f} s; {counted.count()} commits; "
        f"others used {100 * others:.0f} % of this machine"
    )


def _round(arena: Arena, schedule: Schedule, summary: Summary) -> list[str]:
    """The kinds that were due; some may not have come about, and have lost a disk all the same."""
    now = schedule.next()
    begun: dict[str, Iterator[None]] = {}
    for gap, kind in now.faults:
        time.sleep(gap)
        fault = FAULTS[kind](arena)
        try:
            next(fault)
        except NotTried as why:
            arena.say(f"not tried: {kind}: {why}")
            summary.missed(kind, str(why))
            continue
        begun[kind] = fault
        summary.tried[kind] += 1
    if begun:
        time.sleep(now.seconds)
    for fault in begun.values():
        next(fault, None)
    return [kind for _, kind in now.faults]


def _network(run: Run, nodes: tuple[str, ...], story: Story) -> network.Network:
    missing = network.missing()
    if missing:
        story.say(f"not tried: partitions and links: {missing}")
        return network.Loopback(missing)
    made = network.Namespaces(run.id, (*nodes, *STORES, *CLIENTS))
    made.enter()
    return made


def _disks(run: Run, nodes: tuple[str, ...], story: Story) -> dict[str, disks.Plain]:
    """The last one of nodes has a disk that can be full at once, the others have disks that can hang."""
    made: dict[str, disks.Plain] = {}
    for node in nodes:
        kind = disks.Memory if node == nodes[-1] else disks.Loop
        missing = disks.missing(kind)
        if missing:
            story.say(f"not tried: what a {kind.__name__.lower()} disk of node {node} could do: {missing}")
            kind = disks.Plain
        made[node] = kind(run.directory / f"disk-{node}")
    return made


if __name__ == "__main__":
    sys.exit(main())
