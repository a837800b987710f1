"""What clients wrote down while a cluster was attacked: transactions with what they read, wrote and were told.

Pure. A history is JSON lines, one event each, from any number of files in any order:

* ``invoke`` {id, client, session, strict, at}: a transaction begins; ``at`` is in nanoseconds of the machine's
  monotonic clock, the same for all processes of one machine;
* ``trying`` {id, reads, loads, covered, writes, resolvable, work}: what it did, just before it is committed;
* ``ok`` {id, at, tid?}, ``fail`` {id, at, error}, ``unknown`` {id, at, error}: how it ended. Nothing of the three:
  the client died, and nobody knows;
* ``settled`` {id, tid?}: what the cluster answered later about an unknown one;
* ``oid`` {oid, client}: the client was given this oid for a new object;
* ``wrong`` {error}: a client met an error that nothing documents.

Oids and tids are numbers here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any


class Outcome(Enum):
    OK = "ok"
    FAIL = "fail"  # certainly nothing was committed
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Load:
    """What a storage answered: the record of this revision, by its digest."""

    oid: int
    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class Write:
    """``serial`` is the revision that it was made from, 0 for a new object."""

    serial: int
    digest: str


@dataclass(frozen=True, slots=True)
class Operation:
    """One attempt of one transaction. Its ``id`` is also its description in the log."""

    id: str
    client: str
    session: str
    invoked: int
    outcome: Outcome = Outcome.UNKNOWN
    ended: int | None = None
    strict: bool = False
    tid: int | None = None
    #: Revisions that the application saw, from wherever: oid to serial.
    reads: Mapping[int, int] = field(default_factory=dict)
    loads: tuple[Load, ...] = ()
    #: Revisions that must still be current when it commits (``readCurrent``).
    covered: Mapping[int, int] = field(default_factory=dict)
    writes: Mapping[int, Write] = field(default_factory=dict)
    #: Written oids whose class resolves conflicts: what is committed may be another record on another base.
    resolvable: frozenset[int] = frozenset()
    #: What the workload noted, for its own checker.
    work: Mapping[str, Any] = field(default_factory=dict)
    error: str = ""
    #: Told later: the tid, or 0 for never; None where nobody asked or nobody could say.
    settled: int | None = None


@dataclass(frozen=True, slots=True)
class History:
    """``operations`` are in the order in which they began."""

    operations: tuple[Operation, ...]
    #: Every oid that was handed to a client for a new object, and to whom.
    issued: tuple[tuple[int, str], ...] = ()
    #: Errors that no documentation announces.
    wrong: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[Operation, ...]:
        """The operations of one workload."""
        return tuple(each for each in self.operations if each.work.get("kind") == kind)

    def counted(self, outcome: Outcome) -> int:
        return sum(each.outcome is outcome for each in self.operations)


def parse(lines: Iterable[str]) -> History:
    """Raises ValueError where a line is not an event; a last line without its end (a killed client) is left out."""
    begun: dict[str, dict[str, Any]] = {}
    later: dict[str, list[dict[str, Any]]] = {}
    issued: list[tuple[int, str]] = []
    wrong: list[str] = []
    for line in lines:
        if not line.endswith("\n"):
            continue
        event = json.loads(line)
        match event["event"]:
            case "invoke":
                if event["id"] in begun:
                    raise ValueError(f"two operations are called {event['id']}")
                begun[event["id"]] = event
            case "oid":
                issued.append((event["oid"], event["client"]))
            case "wrong":
                wrong.append(event["error"])
            case "trying" | "ok" | "fail" | "unknown" | "settled":
                later.setdefault(event["id"], []).append(event)
            case other:
                raise ValueError(f"no event is called {other!r}")
    if stray := later.keys() - begun.keys():
        raise ValueError(f"operations that nobody began: {', '.join(sorted(stray)[:5])}")
    operations = [_operation(invoke, later.get(name, ())) for name, invoke in begun.items()]
    return History(tuple(sorted(operations, key=lambda each: (each.invoked, each.id))), tuple(issued), tuple(wrong))


def _operation(invoke: Mapping[str, Any], later: Iterable[Mapping[str, Any]]) -> Operation:
    fields: dict[str, Any] = {
        "id": invoke["id"],
        "client": invoke["client"],
        "session": invoke["session"],
        "strict": invoke.get("strict", False),
        "invoked": invoke["at"],
    }
    for event in later:
        match event["event"]:
            case "trying":
                fields["reads"] = dict(event.get("reads", ()))
                fields["loads"] = tuple(Load(*each) for each in event.get("loads", ()))
                fields["covered"] = dict(event.get("covered", ()))
                fields["writes"] = {oid: Write(serial, digest) for oid, serial, digest in event.get("writes", ())}
                fields["resolvable"] = frozenset(event.get("resolvable", ()))
                fields["work"] = event.get("work", {})
            case "settled":
                fields["settled"] = event.get("tid", 0)
            case outcome:
                fields["outcome"] = Outcome(outcome)
                fields["ended"] = event["at"]
                fields["tid"] = event.get("tid")
                fields["error"] = event.get("error", "")
    return Operation(**fields)
