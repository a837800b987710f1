"""One small file that is either the old state or the new one, whatever fails in between.

The file is replaced as a whole: written beside, synced, renamed, and the
directory synced. A lock beside it keeps a second process out. A write that
failed is never retried: what is on the disk is then unknown, and says so.
"""

from __future__ import annotations

import fcntl
import os
import zlib
from pathlib import Path

from springtide import errors

_MAGIC = b"springtide-coordinator 1 "


class StateFile:
    """Exclusive hold of ``path`` until closed."""

    def __init__(self, path: Path) -> None:
        """Raises ``errors.Occupied`` if another process holds it."""
        self._path = path
        self._failed = False
        try:
            _make_directories(path.parent)
            self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise errors.ConfigError(f"the coordinator's file {path} cannot be opened: {error}") from error
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise errors.Occupied(f"the coordinator's file {path} is in use by another process") from error

    def load(self) -> bytes | None:
        """What was saved last; None if nothing ever was. ``errors.Damaged`` if it is not what was written."""
        try:
            content = self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise errors.DiskFailed(f"the coordinator's file {self._path} cannot be read: {error}") from error
        head, newline, body = content.partition(b"\n")
        if not newline or head != _head(body):
            raise errors.Damaged(
                f"the coordinator's file {self._path} is damaged: put it back from a copy, or remove it and write the "
                "record again with 'springtide recover'"
            )
        return body

    def save(self, body: bytes) -> None:
        """Returns when ``body`` is on disk. ``errors.DiskFailed`` otherwise, now and ever after."""
        if self._failed:
            raise errors.DiskFailed(f"an earlier write of {self._path} failed, so its content is unknown: restart")
        beside = self._path.with_name(self._path.name + ".new")
        try:
            with open(beside, "wb") as file:
                file.write(_head(body) + b"\n" + body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(beside, self._path)
            _sync_directory(self._path.parent)
        except OSError as error:
            self._failed = True
            raise errors.DiskFailed(f"the coordinator's file {self._path} cannot be written: {error}") from error

    def close(self) -> None:
        """Let the next process in."""
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _make_directories(path: Path) -> None:
    """Durably: where the name of a directory is lost, so is all that is in it."""
    if not path.is_dir():
        _make_directories(path.parent)
        path.mkdir(exist_ok=True)
        _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def _head(body: bytes) -> bytes:
    return _MAGIC + b"%08x" % zlib.crc32(body)
