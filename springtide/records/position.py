"""Where in the log something stands.

Pure. An lsn alone names a place, an epoch says which reign wrote there, and the
chain digest says which history leads to it: two logs with equal digests at one
lsn are equal up to it.
"""

from __future__ import annotations

from dataclasses import dataclass

DIGEST_BYTES = 16


@dataclass(frozen=True, slots=True, order=True)
class Position:
    epoch: int
    lsn: int

    def __str__(self) -> str:
        return f"{self.epoch}/{self.lsn}"


@dataclass(frozen=True, slots=True)
class Point:
    """A position and the chain digest of the history that ends there."""

    epoch: int
    lsn: int
    digest: bytes

    @property
    def position(self) -> Position:
        return Position(self.epoch, self.lsn)

    def __str__(self) -> str:
        return f"{self.epoch}/{self.lsn}"


#: Where every history begins: before the first entry, which has lsn 1.
ORIGIN = Point(0, 0, bytes(DIGEST_BYTES))
