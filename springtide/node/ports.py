"""What the roles of a node need, put together: one disk, and ways to reach peers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from springtide.primary import ports as primary
from springtide.records.entries import Transaction
from springtide.records.ids import Oid, Tid
from springtide.records.packs import PackBegin
from springtide.replica import ports as replica


class Identity(replica.Identity, Protocol):
    @property
    def node(self) -> str: ...
    @property
    def incarnation(self) -> str: ...
    @property
    def starts(self) -> int: ...


class Blobs(primary.Blobs, replica.Blobs, Protocol):
    """What ``springtide.engine.blobstore.BlobStore`` offers to the roles."""


class Disk(primary.Disk, replica.Engine, replica.Importer, Protocol):
    """What ``springtide.engine.Engine`` offers, and the simulated disk as well."""

    @property
    def identity(self) -> Identity: ...
    @property
    def packs(self) -> int: ...
    @property
    def packed(self) -> Tid: ...
    @property
    def packing(self) -> PackBegin | None: ...
    @property
    def blobs(self) -> Blobs: ...
    def load_before(self, oid: Oid, before: Tid) -> Any: ...
    def load_serial(self, oid: Oid, tid: Tid) -> Any: ...
    def changed_since(self, tid: Tid) -> Iterator[tuple[Tid, Sequence[Oid]]]: ...
    def gone_since(self, packs: int) -> Iterator[tuple[int, Sequence[Oid]]]: ...
    def transactions(self, start: Tid, stop: Tid) -> Iterator[Transaction]: ...
    def object_count(self) -> int: ...
    def size_bytes(self) -> int: ...


class Peers(replica.Peers, Protocol):
    async def refuses(self, address: str) -> bool:
        """Whether nothing listens at ``address``: the process that did is gone."""
