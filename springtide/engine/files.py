"""The few things the log asks of a file system, in one place where a test can make them fail.

Nothing here is retried and nothing is hidden: an ``OSError`` reaches the caller,
who stops (a sync that failed once may succeed the second time without having
written anything).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from springtide import errors
from springtide.spool import FileSpool

#: What is copied is in memory a part at a time.
PART_BYTES = 4 * 2**20


@contextmanager
def writing(what: Path) -> Iterator[None]:
    """Says which file it was that could not be written."""
    try:
        yield
    except OSError as error:
        raise errors.DiskFailed(f"{what} could not be written: {error}") from error


class Files:
    def create(self, path: Path) -> int:
        """A new file, or an empty one where there was one."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o640)

    def open(self, path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)

    def seek_end(self, fd: int) -> int:
        return os.lseek(fd, 0, os.SEEK_END)

    def write(self, fd: int, data: bytes | memoryview) -> None:
        """All of ``data``, where the last write ended."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def write_at(self, fd: int, data: bytes, at: int) -> None:
        """All of ``data``, from ``at`` on."""
        while data:
            written = os.pwrite(fd, data, at)
            data, at = data[written:], at + written

    def fdatasync(self, fd: int) -> None:
        os.fdatasync(fd)

    def truncate(self, fd: int, size: int) -> None:
        """Cut the file to ``size`` and make the cut durable."""
        os.ftruncate(fd, size)
        os.fsync(fd)

    def close(self, fd: int) -> None:
        os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        os.rename(source, target)

    def link(self, source: Path, target: Path) -> None:
        """A second name for the file, where ``target`` is free; nothing where it is the same file already."""
        with suppress(FileExistsError):
            os.link(source, target)

    def fsync(self, fd: int) -> None:
        os.fsync(fd)

    def unlink(self, path: Path) -> None:
        path.unlink(missing_ok=True)

    def sync_directory(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def free_bytes(self, path: Path) -> int:
        """What an ordinary process may still write to the file system that holds ``path``."""
        found = os.statvfs(path)
        return found.f_bavail * found.f_frsize

    def make_directory(self, path: Path) -> None:
        """The directory, durably; its parent must exist."""
        if not path.is_dir():
            path.mkdir(mode=0o750)
            self.sync_directory(path.parent)

    def make_directories(self, path: Path) -> None:
        """The directory with all above it, durably: its name too, without which all that is in it can be lost."""
        if path.is_dir():
            # Whoever made it may have died before its name was synced. Others' directories need not be readable.
            with suppress(PermissionError):
                self.sync_directory(path.parent)
            return
        self.make_directories(path.parent)
        path.mkdir(exist_ok=True)
        self.sync_directory(path.parent)

    def read(self, path: Path, at: int = 0, size: int | None = None) -> bytes:
        """``size`` bytes from ``at`` on (all that follow if None), or fewer where the file ends."""
        with path.open("rb", buffering=0) as file:
            wanted = max(0, os.fstat(file.fileno()).st_size - at) if size is None else size
            parts = []
            while wanted > 0 and (part := os.pread(file.fileno(), wanted, at)):
                parts.append(part)
                at += len(part)
                wanted -= len(part)
            return parts[0] if len(parts) == 1 else b"".join(parts)

    def copy(self, path: Path, at: int, size: int) -> memoryview:
        """The same without holding it in memory: of a nameless copy, so that whoever cuts the file cuts nobody's view.

        Raises ``NoSpace`` where the disk has no room for the copy.
        """
        spool = FileSpool(path.parent)
        for part in self._parts(path, at, size):
            spool.write(part)
        return spool.view()

    def _parts(self, path: Path, at: int, size: int) -> Iterator[bytes]:
        while size > 0 and (part := self.read(path, at, min(size, PART_BYTES))):
            yield part
            at, size = at + len(part), size - len(part)

    def write_anew(self, path: Path, size: int) -> None:
        """Put the first ``size`` bytes of a file in its place, as ``replace`` does."""
        self._replace(path, self._parts(path, 0, size))

    def replace(self, path: Path, data: bytes) -> None:
        """Put ``data`` in the place of what ``path`` held, wholly or not at all, durably."""
        self._replace(path, (data,))

    def _replace(self, path: Path, parts: Iterable[bytes]) -> None:
        new = path.with_name(path.name + ".new")
        fd = self.create(new)
        try:
            for part in parts:
                self.write(fd, part)
            self.fdatasync(fd)
        finally:
            self.close(fd)
        self.rename(new, path)
        self.sync_directory(path.parent)
