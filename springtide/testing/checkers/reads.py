"""Did every transaction read one snapshot, of what was committed, and never an older one than it was promised?

Pure. A revision that was read was the newest one from its own tid on until the next revision of its object.
So the reads of a transaction are the state at one tid exactly if these stretches have a tid in common. Linear in the
number of reads, but for sorting by time.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.history import History, Operation, Outcome
from springtide.testing.checkers.log import NEVER, FinalLog


def check_reads(history: History, log: FinalLog) -> list[Anomaly]:
    """What was read was committed, by whoever the log says; and all of it is the state at one tid."""
    return [*chain.from_iterable(_reads(each, log) for each in history.operations)]


def check_sessions(history: History, log: FinalLog) -> list[Anomaly]:
    """What a client sees is never older than what it saw, or committed, in a transaction that had ended before."""
    return _never_older(history, log, strict=False)


def check_strict(history: History, log: FinalLog) -> list[Anomaly]:
    """A strict transaction sees what anybody had seen, or been told is committed, before it began."""
    return _never_older(history, log, strict=True)


def snapshot(operation: Operation, log: FinalLog) -> tuple[int, int]:
    """The state it read is that of a tid from the first to below the second."""
    low = max(operation.reads.values(), default=0)
    high = min((log.following(oid, serial) for oid, serial in operation.reads.items()), default=NEVER)
    return low, high


# -- within ------------------------------------------------------------------------------------


def _reads(operation: Operation, log: FinalLog) -> Iterator[Anomaly]:
    name = operation.id
    seen = {**operation.reads, **{load.oid: load.serial for load in operation.loads}}
    for oid, serial in seen.items():
        if not log.has(oid, serial):
            text = f"{name} read object {oid} as of {serial:016x}, which no committed transaction wrote"
            yield Anomaly("aborted read", text, (name,))
    for load in operation.loads:
        if log.has(load.oid, load.serial) and log.digest(load.oid, load.serial) != load.digest:
            text = f"{name} read another record of object {load.oid} than {load.serial:016x} left in the log"
            yield Anomaly("intermediate read", text, (name,))
    low, high = snapshot(operation, log)
    if low >= high:
        newest = next(oid for oid, serial in operation.reads.items() if serial == low)
        oldest = next(oid for oid, serial in operation.reads.items() if log.following(oid, serial) == high)
        text = f"{name} read object {newest} as of {low:016x}, and object {oldest} as it was before {high:016x}"
        yield Anomaly("torn snapshot", text, (name,))


def _never_older(history: History, log: FinalLog, strict: bool) -> list[Anomaly]:
    """One sweep over time. What ends in the moment in which another begins is not before it."""
    moments: list[tuple[int, int, int]] = []
    for index, operation in enumerate(history.operations):
        moments.append((operation.invoked, 0, index))
        if operation.ended is not None:
            moments.append((operation.ended, 1, index))
    known: dict[str, tuple[int, str]] = {}  # the newest tid that is known, and through whom
    promised: dict[int, tuple[int, str]] = {}
    found: list[Anomaly] = []
    for _, ending, index in sorted(moments):
        operation = history.operations[index]
        who = "" if strict else operation.client
        if not ending:
            promised[index] = known.get(who, (0, ""))
            continue
        if operation.strict or not strict:
            found += _older(operation, log, promised.pop(index), strict)
        known[who] = max(known.get(who, (0, "")), (_learnt(operation), operation.id))
    # Who never ended was promised the same.
    for index, floor in promised.items():
        operation = history.operations[index]
        if operation.ended is None and (operation.strict or not strict):
            found += _older(operation, log, floor, strict)
    return found


def _learnt(operation: Operation) -> int:
    """The newest tid that must exist, as its client knows at its end."""
    committed = operation.tid if operation.outcome is Outcome.OK else None
    return max(committed or 0, max(operation.reads.values(), default=0))


def _older(operation: Operation, log: FinalLog, promised: tuple[int, str], strict: bool) -> Iterator[Anomaly]:
    floor, through = promised
    _, high = snapshot(operation, log)
    if high <= floor:
        kind = "stale strict read" if strict else "session went back"
        text = f"{operation.id} read the state before {high:016x}, though {through} had ended knowing {floor:016x}"
        yield Anomaly(kind, text, (through, operation.id))
