"""The body of a large entry, on a node's disk before the entry has its place in the log.

All of it but the transaction's tid is known, digested and synced ahead: on the primary while the transaction is voted
on, on a follower when it has arrived there. The file lies beside the segments of the log and has room for their head
at its begin. What is appended then is the file itself, under another name: see ``engine.log``.
"""

from __future__ import annotations

import os
import tempfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO

from springtide.records import checksums, packed
from springtide.records.digests import REST_FROM, rest_hash
from springtide.records.entries import Entry, Kind, Transaction
from springtide.spool import FileSpool, Growing, Spool

#: Written to the disk at the latest after so much, so that the sync before a vote is answered is short.
_SYNC_BYTES = 32 * 2**20
_READ_BYTES = 2**20


class AheadFile(FileSpool):
    """A spool with a name, and what it holds can be synced. Without ``kept`` it goes as other spools do."""

    path: Path
    _kept = False
    _synced = 0

    def _made(self, directory: Path | None) -> IO[bytes]:
        fd, path = tempfile.mkstemp(dir=directory, suffix=".new")
        self.path = Path(path)
        os.fchmod(fd, 0o640)  # as a segment has
        return open(fd, "r+b", buffering=0)

    def __del__(self) -> None:
        if hasattr(self, "path") and not self._kept:
            self.path.unlink(missing_ok=True)
        super().__del__()

    @property
    def fd(self) -> int:
        return self._file.fileno()

    def kept(self) -> None:
        """It has another name now, and is somebody else's."""
        self._kept = True

    def write(self, data: bytes | memoryview) -> None:
        super().write(data)
        if self.end - self._synced >= _SYNC_BYTES:
            self.sync()

    def sync(self) -> None:
        try:
            os.fdatasync(self.fd)
        except OSError as error:
            raise self._failed(error) from error
        self._synced = self.end


class Ahead:
    """One body, from ``at`` on in ``file``, whole. Known by ``id`` to those who send it and those who receive it.

    ``rest`` and ``crc`` are the digests of what follows its first ``REST_FROM`` bytes, which are said last.
    """

    def __init__(self, id: bytes, file: Spool, at: int, rest: bytes, crc: int) -> None:
        self.id = id
        self.file = file
        self.at = at
        self.rest = rest
        self.crc = crc
        self.bytes = file.view(at)
        #: What it says, but for the tid, once it was taken apart; the writes stay where they are.
        self.transaction: Transaction | None = None
        self.index: packed.Index | None = None

    def settle(self) -> None:
        """Sync it and take it apart, so that its append takes no time. Blocks.

        Raises DiskFailed, or Malformed where it is no transaction.
        """
        if isinstance(self.file, AheadFile):
            self.file.sync()
        self.transaction = packed.decode(self.bytes)
        assert isinstance(self.transaction.writes, packed.PackedWrites), "they stay in the body"
        self.index = packed.Index(self.transaction.writes)

    def first(self, first: bytes) -> None:
        """Its first bytes are these: now it is whole."""
        assert len(first) == REST_FROM, "nothing else was left open"
        self.file.patch(self.at, first)

    def entry(self, epoch: int, lsn: int, kind: Kind, digest: bytes) -> Entry:
        return Entry(epoch, lsn, kind, digest, self.bytes, self.rest, self)

    def crc_after(self, before: int) -> int:
        """The checksum of what ends with all of the body, of which ``before`` is the checksum without it."""
        whole = zlib.crc32(self.bytes[:REST_FROM], before)
        return checksums.joined(whole, self.crc, len(self.bytes) - REST_FROM)


def digested(id: bytes, file: Spool, at: int) -> Ahead:
    """What was written to ``file`` from ``at`` on. Blocks: reads all of it."""
    rest, crc = rest_hash(), 0
    body = file.view(at)
    for start in range(REST_FROM, len(body), _READ_BYTES):
        part = body[start : start + _READ_BYTES]
        rest.update(part)
        crc = zlib.crc32(part, crc)
    return Ahead(id, file, at, rest.digest(), crc)


class Arriving(Growing):
    """A body of which parts have arrived, digested as it grows where it is large."""

    def __init__(self, make: Callable[[], Spool]) -> None:
        super().__init__(make)
        self._rest = rest_hash()
        self._crc = 0

    def _spooled(self, data: bytes, first: bool) -> None:
        rest = memoryview(data)[REST_FROM if first else 0 :]
        self._rest.update(rest)
        self._crc = zlib.crc32(rest, self._crc)

    def ahead(self, id: bytes) -> Ahead:
        """All of it, in a file, however small. Blocks."""
        self.spool()
        assert self._spool is not None, "that made one"
        return Ahead(id, self._spool, self._spool.begin, self._rest.digest(), self._crc)
