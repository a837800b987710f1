"""What the simulated clients write: records that say on what they are based, so that lost updates show.

Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from springtide.primary.conflicts import Intent, Wanted
from springtide.records.entries import Blob, Transaction
from springtide.records.ids import Oid, Tid, TransactionId


def record(serial: Tid, id: TransactionId) -> bytes:
    return serial + id


def serial_of(data: bytes) -> Tid:
    return Tid(data[:8])


def wants(
    id: TransactionId, stores: Iterable[tuple[Oid, Tid]], checks: Iterable[tuple[Oid, Tid]]
) -> tuple[Wanted, ...]:
    return (
        *(Wanted(oid, Intent.STORE, serial, record(serial, id), blob=_blob(oid, id)) for oid, serial in stores),
        *(Wanted(oid, Intent.CHECK, serial) for oid, serial in checks),
    )


def _blob(oid: Oid, id: TransactionId) -> Blob | None:
    """Half of the objects have files."""
    if oid[-1] % 2:
        return None
    return Blob(id[:8] + oid, 32, bytes(16))


def description(checks: Iterable[tuple[Oid, Tid]]) -> bytes:
    """Read checks leave no trace in the log; here they do."""
    return b"".join(oid + serial for oid, serial in checks)


def read_checks(transaction: Transaction) -> Iterator[tuple[Oid, Tid]]:
    told = transaction.description
    for at in range(0, len(told), 16):
        yield Oid(told[at : at + 8]), Tid(told[at + 8 : at + 16])
