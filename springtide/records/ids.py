"""What things are called: oids, tids, nodes, members, transactions.

Pure. Oids and tids are 8 big-endian bytes as everywhere in ZODB, so comparing
the bytes compares the numbers.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NewType

Oid = NewType("Oid", bytes)
Tid = NewType("Tid", bytes)
NodeId = NewType("NodeId", str)
#: A client's name for one transaction: 16 random bytes, then the last tid the
#: client had seen when it began (8 bytes). The tid tells how old the id is.
TransactionId = NewType("TransactionId", bytes)

#: Before the first transaction.
TID_ZERO = Tid(bytes(8))
#: After every transaction; ``ZODB.utils.maxtid`` is the same value.
TID_MAX = Tid(b"\x7f" + b"\xff" * 7)
OID_ZERO = Oid(bytes(8))
#: Oids and tids are below this: ZODB packs both as signed numbers here and there (``ZODB.utils.maxtid``).
OID_LIMIT = 2**63
TRANSACTION_ID_BYTES = 24


def number(name: bytes) -> int:
    """The number that an oid or a tid stands for."""
    return int.from_bytes(name, "big")


def oid(value: int) -> Oid:
    return Oid(value.to_bytes(8, "big"))


def tid(value: int) -> Tid:
    return Tid(value.to_bytes(8, "big"))


def next_tid(after: Tid) -> Tid:
    return tid(number(after) + 1)


def previous_tid(before: Tid) -> Tid:
    return tid(number(before) - 1)


@dataclass(frozen=True, slots=True, order=True)
class Member:
    """One life of one node's data directory.

    An acknowledgement counts for a member, never for a node: a directory that was
    lost and made anew holds nothing of what its former life acknowledged.
    """

    node: NodeId
    incarnation: str

    def __str__(self) -> str:
        return f"{self.node}/{self.incarnation[:8]}"
