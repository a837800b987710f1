"""Was every acknowledged commit kept, once, and is nothing there that was said to have failed?

Pure, linear.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.history import History, Operation, Outcome
from springtide.testing.checkers.log import FinalLog, Logged


def check_commits(history: History, log: FinalLog) -> list[Anomaly]:
    """Each acknowledged commit is in the log once and only once, as it was made; failed ones are not in it."""
    operations = {each.id: each for each in history.operations}
    found: dict[str, list[Logged]] = {}
    for logged in log.transactions:
        if logged.token in operations:
            found.setdefault(logged.token, []).append(logged)
    return [*_order(log), *_each(operations, found)]


def check_errors(history: History) -> list[Anomaly]:
    """Clients met nothing but what is documented."""
    return [Anomaly("undocumented error", error) for error in history.wrong]


def _order(log: FinalLog) -> Iterator[Anomaly]:
    last = 0
    for logged in log.transactions:
        if logged.tid <= last:
            yield Anomaly("tid order", f"tid {logged.tid:016x} follows tid {last:016x} in the log", (logged.token,))
        last = max(last, logged.tid)


def _each(operations: dict[str, Operation], found: dict[str, list[Logged]]) -> Iterator[Anomaly]:
    for name, operation in operations.items():
        logged = found.get(name, [])
        if len(logged) > 1:
            tids = ", ".join(f"{each.tid:016x}" for each in logged)
            yield Anomaly("committed twice", f"{name} is in the log as {tids}", (name,))
        elif logged:
            yield from _there(operation, logged[0])
        elif operation.outcome is Outcome.OK and operation.writes:
            yield Anomaly("lost commit", f"{name} was acknowledged as {_hex(operation.tid)}, and is not there", (name,))
        elif operation.settled:
            yield Anomaly("lost commit", f"{name} was said to be committed when asked later, and is not there", (name,))


def _there(operation: Operation, logged: Logged) -> Iterator[Anomaly]:
    name = operation.id
    if operation.outcome is Outcome.FAIL:
        yield Anomaly("failed commit is there", f"{name} failed with {operation.error!r}, and is in the log", (name,))
    if operation.settled == 0:
        yield Anomaly("failed commit is there", f"{name} was said to be committed never, and is in the log", (name,))
    known = operation.settled or operation.tid
    if known is not None and known != 0 and known != logged.tid:
        text = f"{name} was acknowledged as {known:016x}, and is in the log as {logged.tid:016x}"
        yield Anomaly("another tid", text, (name,))
    if operation.writes.keys() != logged.writes.keys():
        text = f"{name} wrote objects {_named(operation.writes.keys())}, in the log are {_named(logged.writes.keys())}"
        yield Anomaly("another content", text, (name,))
        return
    for oid, write in operation.writes.items():
        if oid not in operation.resolvable and logged.writes[oid] != write.digest:
            yield Anomaly("another content", f"{name} wrote another record of object {oid} than is in the log", (name,))


def _hex(tid: int | None) -> str:
    return "a commit" if tid is None else f"{tid:016x}"


def _named(oids: Iterable[int]) -> str:
    return "{" + ", ".join(str(oid) for oid in sorted(oids)) + "}"
