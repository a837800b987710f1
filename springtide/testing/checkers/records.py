"""Cycles over all objects of a history: here the log says in which order each object's revisions came.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterator

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.cycles import Access, Level, check_cycles
from springtide.testing.checkers.history import History
from springtide.testing.checkers.log import FinalLog


def check_record_cycles(history: History, log: FinalLog, level: Level = Level.SNAPSHOT) -> list[Anomaly]:
    return check_cycles(list(_accesses(history, log)), level)


def _accesses(history: History, log: FinalLog) -> Iterator[Access]:
    places = {(oid, tid): place for oid in log.objects() for place, tid in enumerate(log.versions(oid), start=1)}
    committed = {logged.token: logged for logged in log.transactions}
    for operation in history.operations:
        logged = committed.get(operation.id)
        reads: dict[object, int] = {
            oid: places[oid, serial] for oid, serial in operation.reads.items() if (oid, serial) in places
        }
        writes: dict[object, int] = {oid: places[oid, logged.tid] for oid in logged.writes} if logged else {}
        covered = frozenset(operation.covered)
        yield Access(operation, reads, writes, covered, operation.resolvable)
