"""A file that arrives: written as it comes, resumable, and named only when it is whole, right and synced."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from springtide import errors
from springtide.engine.files import Files, writing
from springtide.engine.values import MIB
from springtide.records.entries import BLOB_DIGEST_BYTES, Blob

#: A file that is not whole yet.
PART = ".part"
#: Written to the disk at the latest after so much, so that the last sync of a large file is short.
_SYNC_BYTES = 32 * MIB
_READ_BYTES = MIB
_FULL = (errno.ENOSPC, errno.EDQUOT)


class Part:
    """Invariant: the file holds ``held`` bytes, which are hashed. One writer; every method blocks."""

    def __init__(self, files: Files, whole: Path, blob: Blob, offset: int) -> None:
        self.blob = blob
        self.held = offset
        self._files = files
        self._whole = whole
        self._path = whole.with_name(whole.name + PART)
        self._hash = hashlib.blake2b(digest_size=BLOB_DIGEST_BYTES)
        self._unsynced = 0
        self._fd = -1
        with self._room(), writing(self._path):
            try:
                self._fd = files.open(self._path) if offset else files.create(self._path)
            except FileNotFoundError:
                raise errors.BadRequest(f"nothing of blob {blob.id.hex()} is here, not {offset:,} bytes") from None
            try:
                self._resume(offset)
            except BaseException:
                self.close()
                raise

    def _resume(self, offset: int) -> None:
        """What is here already belongs to the digest as well."""
        there = self._files.seek_end(self._fd)
        if there < offset:
            raise errors.BadRequest(f"{there:,} bytes of blob {self.blob.id.hex()} are here, none from {offset:,} on")
        if there > offset:
            self._files.truncate(self._fd, offset)
        for at in range(0, offset, _READ_BYTES):
            self._hash.update(os.pread(self._fd, min(_READ_BYTES, offset - at), at))
        self._files.seek_end(self._fd)

    def write(self, data: bytes) -> None:
        """Raises BadRequest beyond the size, NoSpace where the disk is full: nothing is kept then."""
        if self.held + len(data) > self.blob.size:
            self.discard()
            raise errors.BadRequest(f"blob {self.blob.id.hex()} has more bytes than the {self.blob.size:,} announced")
        with self._room(), writing(self._path):
            self._files.write(self._fd, data)
            self.held += len(data)
            self._hash.update(data)
            self._unsynced += len(data)
            if self._unsynced >= _SYNC_BYTES:
                self._files.fdatasync(self._fd)
                self._unsynced = 0

    def finish(self) -> None:
        """Durable, read-only, and named by its id. Raises BadRequest for another content: nothing is kept then."""
        assert self.held == self.blob.size, "a file is finished when it is whole"
        if self._hash.digest() != self.blob.digest:
            self.discard()
            raise errors.BadRequest(
                f"the content of blob {self.blob.id.hex()} has digest {self._hash.hexdigest()}, not "
                f"{self.blob.digest.hex()} as announced: it was damaged on the way or changed meanwhile; store it again"
            )
        with self._room(), writing(self._path):
            os.fchmod(self._fd, os.stat(self._path.parent).st_mode & 0o444)  # for whoever may read the directory
            self._files.fsync(self._fd)
            self.close()
            self._files.rename(self._path, self._whole)
            self._files.sync_directory(self._whole.parent)

    def close(self) -> None:
        """What came so far is kept, to go on from."""
        if self._fd >= 0:
            self._files.close(self._fd)
            self._fd = -1

    def discard(self) -> None:
        """Nothing is kept: its space is free."""
        self.close()
        with suppress(OSError):
            self._files.unlink(self._path)

    @contextmanager
    def _room(self) -> Iterator[None]:
        try:
            yield
        except errors.DiskFailed as failed:
            cause = failed.__cause__
            if isinstance(cause, OSError) and cause.errno in _FULL:
                self.discard()
                raise errors.NoSpace(
                    f"the disk that holds {self._path.parent} is full: free space there, then commit again"
                ) from cause
            raise


def digest_of(path: Path) -> tuple[int, bytes]:
    """The size and the digest of a file. Raises FileNotFoundError."""
    found, size = hashlib.blake2b(digest_size=BLOB_DIGEST_BYTES), 0
    with path.open("rb", buffering=0) as file:
        while data := file.read(_READ_BYTES):
            found.update(data)
            size += len(data)
    return size, found.digest()
