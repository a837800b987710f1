"""Bodies of entries that are on a disk before the entries have their places.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Protocol

from springtide.records.ids import Oid

if TYPE_CHECKING:
    from springtide.records.entries import Transaction, Write


class Ahead(Protocol):
    """A large body that was on this disk before its entry had its place: see ``springtide.ahead``."""

    @property
    def id(self) -> bytes: ...
    @property
    def bytes(self) -> memoryview: ...
    @property
    def transaction(self) -> Transaction | None:
        """What it says, but for the tid, once it is settled."""

    @property
    def index(self) -> Mapping[Oid, Write] | None: ...
    def crc_after(self, before: int) -> int:
        """The CRC of all bytes that end with the body, from that of those before it."""

    def settle(self) -> None:
        """Blocks until it is synced. Raises DiskFailed or Malformed."""
