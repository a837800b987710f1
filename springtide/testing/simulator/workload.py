"""What the simulated clients write: records that say on what they are based, so that lost updates show.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from springtide.client.transaction import Buffer, Write
from springtide.primary.conflicts import Intent, Wanted
from springtide.records.entries import Blob, Transaction
from springtide.records.ids import Oid, Tid, TransactionId


def record(serial: Tid, id: TransactionId) -> bytes:
    return serial + id


def serial_of(data: bytes) -> Tid:
    return Tid(data[:8])


def writer_of(data: bytes) -> TransactionId:
    return TransactionId(data[8:])


def wants(buffer: Buffer) -> tuple[Wanted, ...]:
    return (
        *(Wanted(w.oid, Intent.STORE, w.serial, bytes(w.data), blob=w.blob) for w in buffer.writes.values()),  # type: ignore[arg-type]
        *(Wanted(w.oid, Intent.CHECK, w.serial) for w in buffer.checks.values()),
    )


def blob(oid: Oid, id: TransactionId) -> Blob | None:
    """Some of the objects have files."""
    if oid[-1] % 6:
        return None
    return Blob(id[:8] + oid, 32, bytes(16))


def description(checks: Iterable[Write]) -> bytes:
    """Read checks leave no trace in the log; here they do."""
    return b"".join(check.oid + check.serial for check in checks)


def read_checks(transaction: Transaction) -> Iterator[tuple[Oid, Tid]]:
    told = transaction.description
    for at in range(0, len(told), 16):
        yield Oid(told[at : at + 8]), Tid(told[at + 8 : at + 16])
