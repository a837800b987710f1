"""A database that keeps ZODB's promises, and clients that use it, from a source of chance: valid histories, any number.

With ``bug`` it breaks one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Any

from springtide.testing.checkers import Final, FinalLog, History, Load, Logged, Operation, Outcome, Write

LISTS = {1: "x", 2: "y", 3: "z"}
ACCOUNTS = (11, 12, 13)
TOTAL = 300

#: What each bug must be found as, at least.
BUGS = {
    "commits are lost": {"lost commit", "lost append"},
    "failed commits are applied": {"failed commit is there"},
    "commits are doubled": {"committed twice"},
    "conflicts are overlooked": {"lost update"},
    "checks are overlooked": {"overtaken check"},
    "snapshots are torn": {"torn snapshot"},
    "snapshots go back": {"session went back"},
    "strict reads are stale": {"stale strict read"},
    "uncommitted data is read": {"aborted read", "intermediate read"},
}


@dataclass
class Running:
    name: str
    client: str
    strict: bool
    began: int
    start: int
    reads: dict[int, int] = field(default_factory=dict)
    seen: dict[int, Any] = field(default_factory=dict)
    covered: dict[int, int] = field(default_factory=dict)


class Model:
    """Versions of each object by tid; every step takes one nanosecond."""

    def __init__(self, chance: Random, bug: str = "") -> None:
        self.chance, self.bug = chance, bug
        self.now = self.tid = self.number = 0
        self.versions: dict[int, list[tuple[int, Any]]] = {}
        self.log: list[Logged] = []
        self.operations: list[Operation] = []
        self.floors: dict[str, int] = {}
        self._commit("setup", {**{oid: [] for oid in LISTS}, **dict.fromkeys(ACCOUNTS, TOTAL // 3)})

    def run(self, steps: int) -> None:
        running: list[Running] = []
        for _ in range(steps):
            self.now += 1
            if len(running) < 4 and self.chance.random() < 0.5:
                running.append(self._begin())
            elif running:
                one = self.chance.choice(running)
                if len(one.reads) < len(ACCOUNTS) and self.chance.random() < 0.7:
                    self._read(one)
                else:
                    running.remove(one)
                    self._end(one)

    def history(self) -> History:
        return History(tuple(sorted(self.operations, key=lambda each: each.invoked)))

    def final_log(self) -> FinalLog:
        return FinalLog(self.log)

    def final(self) -> Final:
        newest = {oid: versions[-1][1] for oid, versions in self.versions.items()}
        return Final({name: newest[oid] for oid, name in LISTS.items()}, {str(oid): newest[oid] for oid in ACCOUNTS})

    # -- one transaction -------------------------------------------------------------------------

    def _begin(self) -> Running:
        client = self.chance.choice("pq")
        strict = self.chance.random() < 0.3
        floor = self.tid if strict else self.floors.get(client, 1)
        if self.bug == "snapshots go back" and not strict:
            floor = 1
        if self.bug == "strict reads are stale" and strict:
            floor = 1
        kinds = ("append", "bank")
        name = f"{self.chance.choice(kinds)}-{self.now}"
        return Running(name, client, strict, self.now, self.chance.randint(floor, self.tid))

    def _read(self, one: Running) -> None:
        things = [oid for oid in (LISTS if one.name.startswith("append") else ACCOUNTS) if oid not in one.reads]
        oid = self.chance.choice(things)
        start = self.tid if self.bug == "snapshots are torn" else one.start
        tid, value = [version for version in self.versions[oid] if version[0] <= start][-1]
        if self.bug == "uncommitted data is read" and self.chance.random() < 0.1:
            half = [*value, -1] if isinstance(value, list) else value + 1000
            tid, value = (tid + 1_000_000, value) if self.chance.random() < 0.5 else (tid, half)
        one.reads[oid], one.seen[oid] = tid, value
        if self.chance.random() < 0.3:
            one.covered[oid] = tid

    def _end(self, one: Running) -> None:
        if one.name.startswith("bank"):
            self._transfer(one)
        else:
            self._append(one)

    def _transfer(self, one: Running) -> None:
        if len(one.reads) < len(ACCOUNTS):
            return
        source, target = self.chance.sample(ACCOUNTS, 2)
        balances = {str(oid): value for oid, value in one.seen.items()}
        work = {"kind": "bank", "total": TOTAL, "balances": balances}
        wanted: dict[int, Any] = {}
        if self.bug != "uncommitted data is read" and self.chance.random() < 0.7:
            wanted = {source: one.seen[source] - 1, target: one.seen[target] + 1}
        self._try(one, wanted, work)

    def _append(self, one: Running) -> None:
        wanted: dict[int, Any] = {}
        appended = []
        for oid, value in one.seen.items():
            if isinstance(value, list) and self.chance.random() < 0.5:
                self.number += 1
                wanted[oid] = [*value, self.number]
                appended.append([LISTS[oid], self.number])
        reads = {LISTS[oid]: value for oid, value in one.seen.items() if isinstance(value, list)}
        covered = [LISTS[oid] for oid in one.covered]
        self._try(one, wanted, {"kind": "append", "reads": reads, "appends": appended, "covered": covered})

    def _try(self, one: Running, wanted: dict[int, Any], work: dict[str, Any]) -> None:
        overtaken = any(self._newest(oid) != one.reads[oid] for oid in wanted)
        if wanted:
            overtaken_checks = any(self._newest(oid) != tid for oid, tid in one.covered.items())
            overtaken = overtaken and self.bug != "conflicts are overlooked"
            overtaken |= overtaken_checks and self.bug != "checks are overlooked"
        outcome, tid = Outcome.OK, None
        if overtaken:
            outcome = Outcome.FAIL
            if self.bug == "failed commits are applied" and self.chance.random() < 0.2:
                self._commit(one.name, wanted)
        elif wanted:
            outcome = Outcome.UNKNOWN if self.chance.random() < 0.1 else Outcome.OK
            if outcome is Outcome.OK or self.chance.random() < 0.5:
                tid = self._commit(one.name, wanted)
                if self.bug == "commits are doubled":
                    self._commit(one.name, wanted)
        if wanted == {} and self.bug != "":
            one.covered = {}
        ended = None if outcome is Outcome.UNKNOWN else self.now
        acknowledged = tid if outcome is Outcome.OK else None
        self.floors[one.client] = max(self.floors.get(one.client, 1), one.start if ended else 1, acknowledged or 1)
        self.operations.append(
            Operation(
                one.name,
                one.client,
                one.client,
                one.began,
                outcome,
                ended,
                one.strict,
                acknowledged,
                dict(one.reads),
                tuple(Load(oid, tid, _digest(one.seen[oid])) for oid, tid in one.reads.items()),
                dict(one.covered) if wanted else {},
                {oid: Write(one.reads[oid], _digest(value)) for oid, value in wanted.items()},
                work=work,
            )
        )

    def _newest(self, oid: int) -> int:
        return self.versions[oid][-1][0]

    def _commit(self, name: str, wanted: dict[int, Any]) -> int:
        self.tid += 1
        if self.bug == "commits are lost" and self.chance.random() < 0.1 and self.tid > 1:
            return self.tid
        for oid, value in wanted.items():
            self.versions.setdefault(oid, []).append((self.tid, value))
        self.log.append(Logged(self.tid, name, {oid: _digest(value) for oid, value in wanted.items()}))
        return self.tid


def _digest(value: object) -> str:
    return str(value)
