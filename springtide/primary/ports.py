"""What the primary needs of the node's disk, and what it tells the node.

The engine fits these; so does the simulated disk.
"""

from __future__ import annotations

from collections.abc import Awaitable, Sequence
from typing import Protocol

from springtide.records.blobs import Named
from springtide.records.entries import Entry, Kind, Transaction
from springtide.records.forget import Forget
from springtide.records.ids import Oid, Tid, TransactionId
from springtide.records.packs import Pack, PackBegin
from springtide.records.position import Point
from springtide.spool import Spool


class Committed(Protocol):
    """A committed entry, decoded."""

    @property
    def lsn(self) -> int: ...
    @property
    def kind(self) -> Kind: ...
    @property
    def transaction(self) -> Transaction | None: ...
    @property
    def pack(self) -> Pack | None: ...


class Blobs(Protocol):
    async def lacking(self, names: Sequence[Named], /) -> list[Named]:
        """Those of these files that are not on this disk, whole and synced."""


class Disk(Protocol):
    @property
    def blobs(self) -> Blobs: ...
    @property
    def last(self) -> Point: ...
    @property
    def oldest(self) -> Point: ...
    @property
    def commit_lsn(self) -> int: ...
    @property
    def commit_tid(self) -> Tid: ...
    @property
    def packed(self) -> Tid:
        """Transactions up to here may have lost records to a pack."""

    @property
    def packing(self) -> PackBegin | None:
        """The pack that has begun and has not ended, as far as is applied."""

    @property
    def forgotten(self) -> Tid:
        """Ids of committed transactions that began below it may not be remembered. Asked after ``outcome``."""

    async def forgettable(self, below: Tid, ids_max: int, /) -> Forget | None: ...

    @property
    def last_oid(self) -> int: ...
    @property
    def overlay_bytes(self) -> int: ...

    def point(self, lsn: int) -> Point | None: ...
    def append(self, entries: Sequence[Entry]) -> Awaitable[None]:
        """Queue ``entries`` in the order of calls; the result is ready when they are synced."""

    def read(self, after_lsn: int, bytes_max: int) -> Awaitable[tuple[Entry, ...]]: ...
    async def until_applied(self, lsn: int, /) -> None: ...
    def commit(self, lsn: int) -> Sequence[Committed]: ...
    def current(self, oid: Oid) -> Tid | None: ...
    def outcome(self, transaction: TransactionId) -> Tid | None: ...
    def headroom_bytes(self) -> int: ...
    def spool(self, begin: int = 0) -> Spool:
        """A file for what is too large for memory; the first ``begin`` bytes are left for later."""

    def stage(self, begin: int = 0) -> Spool:
        """The same for the body of a large entry, where the log can take it over; ``begin`` bytes at least."""
