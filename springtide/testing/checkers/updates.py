"""Was any update lost, any checked read overtaken, any oid given twice?

Pure, linear.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.history import History, Operation
from springtide.testing.checkers.log import FinalLog


def check_updates(history: History, log: FinalLog) -> list[Anomaly]:
    """Each committed write was made from the revision before it; each checked read was current at its commit."""
    tids = {logged.token: logged.tid for logged in log.transactions}
    committed = ((each, tids[each.id]) for each in history.operations if each.id in tids)
    return [*chain.from_iterable(_updates(operation, tid, log) for operation, tid in committed)]


def check_oids(history: History) -> list[Anomaly]:
    """No oid was handed out twice, to whomever."""
    found: list[Anomaly] = []
    owners: dict[int, str] = {}
    for oid, client in history.issued:
        if oid in owners:
            found.append(Anomaly("oid issued twice", f"oid {oid} was given to {owners[oid]} and to {client}"))
        owners[oid] = client
    return found


def _updates(operation: Operation, tid: int, log: FinalLog) -> Iterator[Anomaly]:
    name = operation.id
    for oid, write in operation.writes.items():
        before = log.preceding(oid, tid)
        made_from_it = write.serial <= before if oid in operation.resolvable else write.serial == before
        if not made_from_it:
            text = f"{name} made object {oid} from {write.serial:016x}, and committed it over {before:016x}"
            yield Anomaly("lost update", text, (name,))
    for oid, serial in operation.covered.items():
        overtaken = log.following(oid, serial)
        if overtaken < tid:
            text = f"{name} had checked that object {oid} is still as of {serial:016x}, but {overtaken:016x} came first"
            yield Anomaly("overtaken check", text, (name,))
