"""What a replica needs of the rest of the node."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol

from springtide.records.blobs import Named
from springtide.records.entries import Blob, Entry
from springtide.records.feed import Downward, Upward
from springtide.records.ids import NodeId
from springtide.records.position import Point
from springtide.records.snapshot import Resume, SnapshotMessage
from springtide.replica.divergence import Log
from springtide.wire.ports import Duplex


class Identity(Protocol):
    @property
    def cluster(self) -> str: ...

    @property
    def history(self) -> str: ...

    @property
    def promised(self) -> int: ...


class Import(Protocol):
    """A copy that was begun and not ended, as it stands on disk."""

    @property
    def base(self) -> Point: ...

    @property
    def table(self) -> str: ...

    @property
    def after(self) -> bytes: ...


class Intake(Protocol):
    """A file that arrives."""

    @property
    def held(self) -> int: ...

    async def write(self, data: bytes, /) -> None: ...

    async def finish(self) -> None: ...


class Blobs(Protocol):
    """The part of ``springtide.engine.blobstore.BlobStore`` that following needs; its words are kept."""

    async def lacking(self, names: Sequence[Named], /) -> list[Named]: ...

    async def lacking_rows(self, table: str, rows: Sequence[tuple[bytes, bytes]], /) -> list[Named]: ...

    def receive(self, blob: Blob, /) -> AbstractAsyncContextManager[Intake]: ...

    async def give_up(self, blob: Blob, /) -> None: ...


class Gone(Exception):
    """The revision that a file belongs to is packed away at the node that was asked, and the file with it."""


class Engine(Log, Protocol):
    """The part of ``springtide.engine.Engine`` that following needs; its words are kept."""

    @property
    def identity(self) -> Identity: ...

    @property
    def applied(self) -> int: ...

    @property
    def complete(self) -> bool: ...

    @property
    def importing(self) -> Import | None: ...

    @property
    def overlay_bytes(self) -> int: ...

    def headroom_bytes(self) -> int: ...

    async def adopt(self, cluster: str, history: str, /) -> None: ...

    async def promise(self, epoch: int, /) -> None: ...

    @property
    def blobs(self) -> Blobs: ...

    def append(self, entries: Sequence[Entry], /) -> Awaitable[None]:
        """Queue the entries, in the order of calls; the result is ready when they are synced."""

    async def cut(self, keep: Point, /) -> Any: ...

    def commit(self, lsn: int, /) -> Sequence[Any]: ...

    async def until_applied(self, lsn: int, /) -> None: ...


class Settling(Protocol):
    @property
    def last(self) -> Point: ...

    @property
    def durable(self) -> int: ...


class Importer(Settling, Protocol):
    @property
    def blobs(self) -> Blobs: ...

    @property
    def importing(self) -> Import | None: ...

    async def renew_incarnation(self, starts: int = 0, /) -> None: ...

    async def begin_import(self, base: Point, cluster: str, history: str, /) -> None: ...

    async def import_rows(self, table: str, rows: Sequence[tuple[bytes, bytes]], /) -> None: ...

    async def end_import(self, complete_at: int, /) -> None: ...


class Peers(Protocol):
    def feed(self, address: str, /) -> AbstractAsyncContextManager[Duplex[Upward, Downward]]:
        """A stream to the primary at ``address``; raises ``errors.Unreachable`` when entered."""

    def blob(self, address: str, cluster: str, named: Named, offset: int, /) -> AsyncGenerator[bytes, None]:
        """The file from ``offset`` on. Raises Gone, ``errors.BlobMissing`` or ``errors.Unreachable``."""

    def snapshot(self, address: str, cluster: str, resume: Resume | None, /) -> AsyncIterator[SnapshotMessage]: ...


class Observer(Protocol):
    """Who wants to know how following goes. None of these may wait or raise."""

    def heard(self, now: float, /) -> None:
        """The primary said something."""

    def proven(self, at: float, /) -> None:
        """The primary had proof, then, that nobody else leads."""

    def welcome(self, epoch: int, primary: NodeId, uptime: str, /) -> None:
        """The primary of this epoch lets this node follow; the epoch is promised."""

    def committed(self, committed: Sequence[Any], commit_lsn: int, /) -> None:
        """What the engine returned when the commit point moved: invalidations are made of it."""


class Silent:
    """Nobody wants to know."""

    def heard(self, now: float, /) -> None: ...

    def proven(self, at: float, /) -> None: ...

    def welcome(self, epoch: int, primary: NodeId, uptime: str, /) -> None: ...

    def committed(self, committed: Sequence[Any], commit_lsn: int, /) -> None: ...
