"""The blob directory of a storage: where files are, and who may touch them.

    .layout                        "bushy": ZODB's own layout, one directory per byte of the oid
    0x00/0x00/.../<tid>.blob       committed revisions, read-only
    tmp/                           what ZODB and applications write before a commit
    tmp/springtide-<chance>/       the files of one transaction, while it is in progress
    .springtide/cluster            the id of the cluster whose blobs these are
    .springtide/incoming/          downloads that are under way, or that were interrupted
    .springtide/cleaning           the lock of whoever looks through the cache

Several processes may use one directory at once. Everything appears under its final
name by a rename, whole and synced; ``flock`` says who uses what: shared for whoever has a
committed file open, exclusive for whoever downloads or removes. Locks of a process that
dies are gone with it, so what it leaves behind can be told from what is in use.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import stat
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from ZODB.blob import BLOB_SUFFIX, FilesystemHelper

from springtide.client.blobs.eviction import Kept
from springtide.errors import ConfigError
from springtide.records.ids import Oid, Tid

LAYOUT = "bushy"
OWN = ".springtide"
STAGING = "springtide-"
_LOCK = ".lock"


class BlobDirectory:
    """``shared``: a node keeps its committed files here, so nothing but ``tmp/`` is ours to change."""

    def __init__(self, path: str | os.PathLike[str], shared: bool) -> None:
        self.path = os.path.abspath(path)
        self.shared = shared
        self.helper = FilesystemHelper(self.path, LAYOUT)
        try:
            self.helper.create()
            self.temporary: str = os.path.join(self.path, "tmp")
            self.incoming = os.path.join(self.path, OWN, "incoming")
            if not shared:
                os.makedirs(self.incoming, exist_ok=True)
                _demand_locks(os.path.join(self.path, OWN, "locks"))
            self.sweep()
        except ValueError as other_layout:
            raise ConfigError(
                f"blob_dir {self.path} holds blobs of another storage: {other_layout}; name a directory of its own"
            ) from None
        except OSError as error:
            raise ConfigError(f"blob_dir {self.path} cannot be used: {error}") from None

    # -- committed files ---------------------------------------------------------------------------

    def file(self, oid: Oid, tid: Tid) -> str:
        """Where this revision is, or would be."""
        found: str = self.helper.getBlobFilename(oid, tid)
        return found

    def place(self, written: str, oid: Oid, tid: Tid) -> str:
        """``written``, complete and synced, becomes this revision."""
        target = self.file(oid, tid)
        os.chmod(written, self._read_only())
        os.utime(written)
        while True:
            os.makedirs(os.path.dirname(target), exist_ok=True)
            try:
                os.replace(written, target)
                return target
            except FileNotFoundError:
                if not os.path.exists(written):
                    raise
                # Somebody removed the directory, which was empty until now.

    def _read_only(self) -> int:
        """Whoever can read the directory can read its files; nobody can write them."""
        directory = stat.S_IMODE(os.stat(self.path).st_mode)
        return directory & (stat.S_IRUSR | stat.S_IRGRP | stat.S_IROTH)

    # -- the files of transactions in progress -----------------------------------------------------

    def stage(self) -> Staging:
        return Staging(os.path.join(self.temporary, STAGING + secrets.token_hex(8)))

    def sweep(self) -> None:
        """Remove what processes that ended have left of their transactions."""
        for name in _names(self.temporary):
            if name.startswith(STAGING):
                path = os.path.join(self.temporary, name)
                with locked(os.path.join(path, _LOCK), wait=False) as free:
                    if free:
                        shutil.rmtree(path, ignore_errors=True)

    # -- whose blobs these are -----------------------------------------------------------------------

    def claim(self, cluster: str) -> str:
        """The id of the cluster whose blobs are here: ``cluster``, where there were none."""
        mark = Path(self.path, OWN, "cluster")
        with contextlib.suppress(FileNotFoundError):
            return mark.read_text()
        drawn = mark.with_name(f"cluster-{secrets.token_hex(8)}")
        drawn.write_text(cluster)
        try:
            os.link(drawn, mark)  # unlike a rename, it fails where another process was first
        except FileExistsError:
            return mark.read_text()
        finally:
            drawn.unlink()
        return cluster

    # -- what a cache can do without -------------------------------------------------------------------

    def kept(self) -> Iterator[Kept]:
        """Every file that counts: committed ones, and what there is of others. Some may vanish meanwhile."""
        yield from _files(self.incoming, "")
        for entry in _entries(self.path):
            if entry.name.startswith("0x"):
                yield from _files(entry.path, BLOB_SUFFIX)

    def remove(self, file: Kept) -> bool:
        """Remove it, unless somebody has it open, or has used it since."""
        try:
            descriptor = os.open(file.path, os.O_RDONLY)
        except OSError:
            return False
        try:
            if not _lock(descriptor, fcntl.LOCK_EX) or _used(os.fstat(descriptor)) > file.used:
                return False
            os.unlink(file.path)
        except OSError:
            return False
        finally:
            unlock(descriptor)
        self._prune(os.path.dirname(file.path))
        return True

    def forget(self, oids: Iterable[Oid]) -> None:
        """These objects do not exist any more. Files that somebody has open stay until they are not needed."""
        for oid in oids:
            for file in list(_files(self.helper.getPathForOID(oid), BLOB_SUFFIX)):
                self.remove(file)

    def _prune(self, directory: str) -> None:
        """Remove this directory, and those above it, as far as they are empty."""
        with contextlib.suppress(OSError):  # not empty, or gone already
            while len(directory) > len(self.path) and directory != self.incoming:
                os.rmdir(directory)
                directory = os.path.dirname(directory)

    def cleaning(self) -> contextlib.AbstractContextManager[bool]:
        """Held by the one process that looks through the cache; False: another does."""
        return locked(os.path.join(self.path, OWN, "cleaning"), wait=False)


class Staging:
    """The files that one transaction brings, in a directory of its own, until it ends."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._process = os.getpid()
        # It gets the name under which others look for what was left behind when it is seen to be in use.
        directory, name = os.path.split(path)
        made = os.path.join(directory, f".{name}")
        os.mkdir(made)
        self._lock = os.open(os.path.join(made, _LOCK), os.O_RDWR | os.O_CREAT, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        os.replace(made, path)

    def name(self) -> str:
        """Of a file that does not exist yet."""
        return os.path.join(self.path, secrets.token_hex(8))

    def end(self) -> None:
        """Remove what is still here. A process that was forked meanwhile leaves it to its parent."""
        if self._process == os.getpid():
            shutil.rmtree(self.path, ignore_errors=True)
            unlock(self._lock)


# -- locks ---------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(path: str, wait: bool) -> Iterator[bool]:
    """Hold the exclusive lock of this file, which is made where it is missing. False: it is not to be had."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        yield False
        return
    try:
        yield _lock(descriptor, fcntl.LOCK_EX, wait)
    finally:
        unlock(descriptor)


def _demand_locks(path: str) -> None:
    """OSError where the file system knows no locks: without them nobody could tell what is in use."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH)
    finally:
        unlock(descriptor)


def _lock(descriptor: int, kind: int, wait: bool = False) -> bool:
    try:
        fcntl.flock(descriptor, kind if wait else kind | fcntl.LOCK_NB)
        return True
    except OSError:  # held by another; or not to be had on this file system, so never known to be free
        return False


def lock_shared(descriptor: int) -> bool:
    """Say that the file is in use. False if it has been removed: there may be another of its name."""
    _lock(descriptor, fcntl.LOCK_SH, wait=True)
    return os.fstat(descriptor).st_nlink > 0


def lock_exclusive(descriptor: int) -> bool:
    """Try to have the file alone, without waiting."""
    return _lock(descriptor, fcntl.LOCK_EX)


def unlock(descriptor: int) -> None:
    """Let go, also of what a forked child holds with us, and close."""
    with contextlib.suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


# -- looking ---------------------------------------------------------------------------------------------


def touch(path: str, unless_within: float) -> bool:
    """Say that this file is used now; False if there is none. Not written more often than need be."""
    try:
        if time.time() - os.stat(path).st_atime < unless_within:
            return True
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        there = lock_shared(descriptor)
        if there:
            with contextlib.suppress(PermissionError):  # another user's file: reading it will say the same
                os.utime(descriptor, (time.time(), os.fstat(descriptor).st_mtime))
        return there
    finally:
        unlock(descriptor)


def _used(status: os.stat_result) -> float:
    return max(status.st_atime, status.st_mtime)


def _files(directory: str, suffix: str) -> Iterator[Kept]:
    for entry in _entries(directory):
        with contextlib.suppress(FileNotFoundError):
            if entry.is_dir(follow_symlinks=False):
                yield from _files(entry.path, suffix)
            elif entry.name.endswith(suffix):
                status = entry.stat()
                yield Kept(entry.path, status.st_size, _used(status))


def _entries(directory: str) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(directory) as found:
            return list(found)
    except FileNotFoundError:
        return []


def _names(directory: str) -> list[str]:
    return [entry.name for entry in _entries(directory)]
