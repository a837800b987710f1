"""Words for tests of what is on disk: transactions, an engine for the length of a story, disks that fail."""

from __future__ import annotations

import asyncio
import errno
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from springtide.engine import Engine, EngineOptions
from springtide.engine.files import Files
from springtide.records import entries
from springtide.records.entries import Entry, Kind, Transaction, Write
from springtide.records.ids import Oid, TransactionId, oid, tid
from springtide.records.position import ORIGIN, Point

Changes = Mapping[int, bytes | None]

#: Small, so that a few entries fill what is large in production. The probe has tests of its own.
SMALL = EngineOptions(segment_bytes=600, probe=False)


def id_of(number: int) -> TransactionId:
    return TransactionId(number.to_bytes(24, "big"))


def transaction(number: int, changes: Changes) -> Transaction:
    """The transaction with tid ``number``; None deletes an object."""
    writes = tuple(Write(oid(name), data) for name, data in changes.items())
    return Transaction(tid(number), id_of(number), b"user", b"about %d" % number, b"", writes)


def log(*changes: Changes, after: Point = ORIGIN, epoch: int = 1, first: int | None = None) -> list[Entry]:
    """Entries that each make these changes; tids are lsns unless they begin with ``first``."""
    made: list[Entry] = []
    for at, change in enumerate(changes):
        previous = made[-1].point if made else after
        number = previous.lsn + 1 if first is None else first + at
        body = entries.encode_transaction(transaction(number, change))
        made.append(entries.following(previous, epoch, Kind.TRANSACTION, body))
    return made


@asynccontextmanager
async def opened(
    directory: Path, options: EngineOptions = SMALL, files: Files | None = None, node: str = "a"
) -> AsyncIterator[Engine]:
    engine = Engine.open(directory, node, options, files)
    engine.start(asyncio.get_running_loop())
    try:
        yield engine
    finally:
        await engine.close()


def tell(
    directory: Path,
    story: Callable[[Engine], Awaitable[None]],
    options: EngineOptions = SMALL,
    files: Files | None = None,
) -> None:
    """One run of a node: open, ``story``, close."""

    async def whole() -> None:
        async with opened(directory, options, files) as engine:
            await story(engine)

    asyncio.run(whole())


async def commit(engine: Engine, made: list[Entry], applied: bool = True) -> None:
    await engine.append(made)
    engine.commit(made[-1].lsn)
    if applied:
        await engine.until_applied(made[-1].lsn)


@contextmanager
def applying_held(engine: Engine) -> Iterator[None]:
    """What is committed in this block stays in memory until the end of it."""
    go_on, held = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        held.set()
        assert go_on.wait(60)

    engine._applier.call(hold)
    assert held.wait(60)
    try:
        yield
    finally:
        go_on.set()


class CountingFiles(Files):
    def __init__(self) -> None:
        self.syncs = 0
        self.writes = 0
        self.bytes = 0

    def fdatasync(self, fd: int) -> None:
        self.syncs += 1
        super().fdatasync(fd)

    def write(self, fd: int, data: bytes) -> None:
        self.writes += 1
        self.bytes += len(data)
        super().write(fd, data)


class FailingFiles(Files):
    """Fails once with EIO, at the call that ``fail_next`` named, and then works again, as disks do."""

    def __init__(self) -> None:
        self._failing = ""
        self._written = 0

    def fail_next(self, call: str, written: int = 0) -> None:
        """A failing write first writes so many bytes."""
        self._failing, self._written = call, written

    def _fails(self, call: str) -> bool:
        fails, self._failing = self._failing == call, "" if self._failing == call else self._failing
        return fails

    def write(self, fd: int, data: bytes) -> None:
        if self._fails("write"):
            super().write(fd, data[: self._written])
            raise OSError(errno.EIO, "injected")
        super().write(fd, data)

    def fdatasync(self, fd: int) -> None:
        if self._fails("fdatasync"):
            raise OSError(errno.EIO, "injected")
        super().fdatasync(fd)


def only_segment(directory: Path) -> Path:
    (found,) = (directory / "log").iterdir()
    return found


def oids(*numbers: int) -> tuple[Oid, ...]:
    return tuple(oid(number) for number in numbers)
