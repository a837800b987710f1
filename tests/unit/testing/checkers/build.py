"""Words for histories: `op("t1", 0, 10, wrote={1: 0}, tid=5)`, and their log."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from springtide.testing.checkers import FinalLog, Logged, Operation, Outcome, Write

OK, FAIL, UNKNOWN = Outcome.OK, Outcome.FAIL, Outcome.UNKNOWN


def op(
    name: str,
    began: int = 0,
    ended: int | None = 10,
    outcome: Outcome = OK,
    *,
    client: str = "",
    wrote: Mapping[int, int] | None = None,
    **fields: Any,
) -> Operation:
    """``wrote``: the serials of what was written by oid. Each is a client of its own unless said otherwise."""
    writes = {oid: Write(serial, f"{name}:{oid}") for oid, serial in (wrote or {}).items()}
    who = client or name
    return Operation(name, who, who, began, outcome, ended, writes=writes, **fields)


def logged(*operations: tuple[int, Operation]) -> FinalLog:
    """What is in the log when each of these wrote at that tid."""
    return FinalLog(Logged(tid, each.id, {oid: w.digest for oid, w in each.writes.items()}) for tid, each in operations)


def appends(
    name: str,
    began: int = 0,
    ended: int | None = 10,
    outcome: Outcome = OK,
    *,
    reads: Mapping[str, list[int]] | None = None,
    to: Mapping[str, list[int]] | None = None,
    covered: tuple[str, ...] = (),
    client: str = "",
    strict: bool = False,
) -> Operation:
    """An operation of the list workload: what it read of lists, what it appended ``to`` which."""
    work = {
        "kind": "append",
        "reads": dict(reads or {}),
        "appends": [[thing, value] for thing, values in (to or {}).items() for value in values],
        "covered": list(covered),
    }
    return op(name, began, ended, outcome, client=client, work=work, strict=strict)
