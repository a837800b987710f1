"""What a simulated client writes down, as the history that the checkers judge.

Digests are short here: of a record, the id of the transaction that wrote it.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from springtide.client.transaction import Buffer
from springtide.records.entries import OidRange, Transaction
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId, number
from springtide.testing.checkers import FinalLog, History, Load, Logged, Operation, Outcome
from springtide.testing.checkers import Write as Written
from springtide.testing.simulator.workload import writer_of


@dataclass(slots=True)
class Work:
    """One transaction of a client."""

    id: str
    client: str
    invoked: int
    strict: bool
    #: What it reads; None: it was not let begin.
    snapshot: Tid | None = None
    outcome: Outcome = Outcome.UNKNOWN
    end: int | None = None
    tid: int | None = None
    error: str = ""
    sent: bool = False
    reads: dict[int, int] = field(default_factory=dict)
    loads: list[Load] = field(default_factory=list)
    covered: dict[int, int] = field(default_factory=dict)
    writes: dict[int, Written] = field(default_factory=dict)

    def read(self, oid: Oid, serial: Tid, data: bytes) -> None:
        self.reads[number(oid)] = number(serial)
        self.loads.append(Load(number(oid), number(serial), writer_of(data).hex()))

    def serial(self, oid: Oid) -> Tid:
        return Tid(self.reads.get(number(oid), 0).to_bytes(8, "big"))

    def tries(self, id: TransactionId, buffer: Buffer) -> None:
        self.id = id.hex()
        self.covered = {number(w.oid): number(w.serial) for w in buffer.checks.values() if w.serial != TID_ZERO}
        self.writes = {number(w.oid): Written(number(w.serial), self.id) for w in buffer.writes.values()}

    def finishes(self) -> None:
        """From now on its client alone cannot say that it is not committed."""
        self.sent = True

    def committed(self, now: float, tid: Tid) -> None:
        self.outcome, self.end, self.tid = Outcome.OK, _nanoseconds(now), number(tid)

    def ended(self, now: float) -> None:
        """It only read."""
        self.outcome, self.end = Outcome.OK, _nanoseconds(now)

    def failed(self, now: float, error: str) -> None:
        self.outcome, self.end, self.error = Outcome.FAIL, _nanoseconds(now), error


class Notebook:
    """What all clients wrote down, and what was committed."""

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.given: list[tuple[int, str]] = []
        self.logged: list[Logged] = []

    def committed(self, transaction: Transaction) -> None:
        writes = {number(w.oid): writer_of(bytes(w.data)).hex() if w.data else None for w in transaction.writes}
        self.logged.append(Logged(number(transaction.tid), transaction.id.hex(), writes))

    def log(self) -> FinalLog:
        return FinalLog(self.logged)

    def history(self) -> History:
        begun = (_operation(work) for work in self.works if work.snapshot is not None)
        operations = sorted(begun, key=lambda each: (each.invoked, each.id))
        return History(tuple(operations), tuple(self.given))


class Notes:
    """One client's part of them."""

    def __init__(self, client: str, book: Notebook) -> None:
        self._client, self._book = client, book

    def begin(self, now: float, strict: bool) -> Work:
        work = Work(f"{self._client}/{len(self._book.works)}", self._client, _nanoseconds(now), strict)
        self._book.works.append(work)
        return work

    def issued(self, given: OidRange) -> None:
        self._book.given += ((oid, self._client) for oid in range(given.first, given.first + given.count))


def _operation(work: Work) -> Operation:
    return Operation(
        id=work.id,
        client=work.client,
        session=work.client,
        invoked=work.invoked,
        outcome=work.outcome,
        ended=work.end,
        strict=work.strict,
        tid=work.tid,
        reads=work.reads,
        loads=tuple(work.loads),
        covered=work.covered,
        writes=work.writes if work.sent else {},
        error=work.error,
    )


def _nanoseconds(seconds: float) -> int:
    return round(seconds * 1e9)
