"""The files of blobs: before their entry is applied under an id, then in the layout that ZODB calls bushy.

``blobs/incoming/<id and digest>`` is whole, compared with its digest, and synced: a file has that name only then.
Applying an entry gives it a second name, ``blobs/<oid, one directory a byte>/0x<tid>.blob``; the first one is swept
some minutes later. Nobody writes to either; they are read-only. Every step may be repeated after a crash.
"""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from contextlib import suppress
from pathlib import Path

from springtide import errors
from springtide.engine.files import Files, writing
from springtide.engine.intake import PART, Part, digest_of
from springtide.records.blobs import Named
from springtide.records.entries import BLOB_ID_BYTES, Blob
from springtide.records.ids import Oid, Tid

#: Says that the revision is no more at the nodes that had its file: the entry that made it is taken in without.
GONE = ".gone"
SUFFIX = ".blob"


def waiting_name(blob: Blob) -> str:
    """The name of a file that has no place yet, or that was set aside with a tail."""
    return blob.id.hex() + blob.digest.hex()


class Blobs:
    """Any thread may call; ``place`` and ``remove`` are for the thread that applies."""

    def __init__(self, directory: Path, files: Files) -> None:
        self.directory = directory
        self.incoming = directory / "incoming"
        self._files = files
        with writing(directory):
            files.make_directory(directory)
            files.make_directory(self.incoming)
            if not (directory / ".layout").exists():
                files.replace(directory / ".layout", b"bushy")

    def path(self, oid: Oid, tid: Tid) -> Path:
        """Where the file of a revision is, once its entry is applied."""
        digits = tid.hex().lstrip("0") or "0"
        name = digits.zfill(len(digits) + len(digits) % 2)  # ZODB writes whole bytes, without those that are 0 in front
        return self.directory.joinpath(*(f"0x{byte:02x}" for byte in oid), f"0x{name}{SUFFIX}")

    def waiting(self, blob: Blob) -> Path:
        """Where it is until then."""
        return self.incoming / waiting_name(blob)

    # -- taking in ---------------------------------------------------------------------------------

    def holds(self, named: Named) -> bool:
        """Whether the file is here, whole. One that waits is kept for a while longer."""
        if self.waits(named.blob):
            return True
        if named.tid is None:
            return False
        # What is in the place already is compared: it may be of a history that a copy of the database replaced.
        return self._marker(named.blob).exists() or self.verify(named)

    def waits(self, blob: Blob) -> bool:
        """Whether the file is here, whole, and not applied. It is kept for a while longer."""
        waiting = self.waiting(blob)
        try:
            if waiting.stat().st_size != blob.size:
                return False
            os.utime(waiting)
        except FileNotFoundError:
            return False
        return True

    def held_bytes(self, blob: Blob) -> int:
        """How much of the file is here, of one that is not committed."""
        waiting = self.waiting(blob)
        for path in (waiting, waiting.with_name(waiting.name + PART)):
            with suppress(FileNotFoundError):
                return path.stat().st_size
        return 0

    def receive(self, blob: Blob, offset: int) -> Part:
        """Go on writing the file at ``offset``. Raises BadRequest where less than that is here."""
        return Part(self._files, self.waiting(blob), blob, offset)

    def repeat(self, blob: Blob, source: Path) -> bool:
        """A second name, under its own id, for a file with the same content; whether that could be, for it may go."""
        try:
            self._files.link(source, self.waiting(blob))
        except OSError:
            return False
        with writing(self.waiting(blob)):
            self._files.sync_directory(self.incoming)
        return True

    def give_up(self, blob: Blob) -> None:
        """The revision is no more anywhere: what made it is taken in without its file."""
        marker = self._marker(blob)
        with writing(marker):
            self._files.close(self._files.create(marker))
            self._files.sync_directory(self.incoming)

    def _marker(self, blob: Blob) -> Path:
        waiting = self.waiting(blob)
        return waiting.with_name(waiting.name + GONE)

    def forget(self, id: bytes) -> None:
        """Of a transaction that will not be."""
        for path in list(self.incoming.glob(f"{id.hex()}*")):
            self._files.unlink(path)

    def sweep(self, named: Collection[bytes], older_than: float) -> list[str]:
        """Remove what waits, is not among these ids, and was not touched for so many seconds; their names."""
        before, removed = time.time() - older_than, []
        kept = {id.hex() for id in named}
        for path in list(self.incoming.iterdir()):
            with suppress(FileNotFoundError):
                if path.name[: 2 * BLOB_ID_BYTES] not in kept and path.stat().st_mtime < before:
                    self._files.unlink(path)
                    removed.append(path.name)
        return removed

    def set_aside(self, named: Iterable[Named], aside: Path) -> None:
        """Keep the files of a tail that is cut beside it; here they wait to be swept, or named again."""
        found = [one for one in named if self.waiting(one.blob).exists()]
        if found:
            self._files.make_directory(aside / "blobs")
            for one in found:
                self._files.link(self.waiting(one.blob), aside / "blobs" / self.waiting(one.blob).name)
            self._files.sync_directory(aside / "blobs")

    # -- committed ---------------------------------------------------------------------------------

    def place(self, named: Named) -> None:
        """The entry is being applied: the file gets its place, durably. Raises Damaged where it is not here."""
        assert named.tid is not None, "what is committed has a tid"
        target, waiting = self.path(named.oid, named.tid), self.waiting(named.blob)
        with writing(target):
            if waiting.exists():
                self._make_directories(target.parent)
                new = target.with_suffix(".new")
                self._files.unlink(new)
                self._files.link(waiting, new)
                self._files.rename(new, target)  # also over what a history left that is no more
                self._files.unlink(new)  # a rename to another name of the same file does nothing
                self._files.sync_directory(target.parent)
            elif target.exists():
                self._files.sync_directory(target.parent)  # it may be here by a rename before a crash
            elif not self._marker(named.blob).exists():
                raise errors.Damaged(
                    f"{waiting} is missing, the file of oid {named.oid.hex()} as of tid {named.tid.hex()}: it was "
                    "synced before its transaction was acknowledged here, so something removed it"
                )

    def _make_directories(self, path: Path) -> None:
        if not path.is_dir():
            self._make_directories(path.parent)
            self._files.make_directory(path)

    def open(self, named: Named) -> int:
        """A file descriptor to read from. Raises BlobMissing."""
        assert named.tid is not None, "what is read is committed"
        waiting, placed = self.waiting(named.blob), self.path(named.oid, named.tid)
        for path in (placed, waiting, placed):  # it may be given its place meanwhile
            with suppress(FileNotFoundError):
                return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        raise errors.BlobMissing(f"the file of oid {named.oid.hex()} as of tid {named.tid.hex()} is not on this node")

    def open_waiting(self, blob: Blob) -> int | None:
        """A file descriptor to read from, of a file that is not applied yet."""
        with suppress(FileNotFoundError):
            return os.open(self.waiting(blob), os.O_RDONLY | os.O_CLOEXEC)
        return None

    def verify(self, named: Named) -> bool:
        """Whether the file in its place is what it should be: reads all of it."""
        assert named.tid is not None, "what is verified is committed"
        try:
            return digest_of(self.path(named.oid, named.tid)) == (named.blob.size, named.blob.digest)
        except FileNotFoundError:
            return False

    def remove(self, oid: Oid, tid: Tid) -> None:
        """The revision is packed away, and its row as well: a row that is there has its file."""
        path = self.path(oid, tid)
        with writing(path):
            self._files.unlink(path)
        with suppress(OSError):  # not empty, or gone already
            for directory in path.parents[: len(oid)]:
                directory.rmdir()

    def committed(self) -> Iterator[tuple[Oid, Tid]]:
        """Every revision with a file in its place. Names that are not ZODB's are passed over."""
        for directory, _, names in os.walk(self.directory):
            levels = Path(directory).relative_to(self.directory).parts
            if len(levels) != 8:
                continue
            for name in names:
                with suppress(ValueError):
                    oid = bytes(int(level, 16) for level in levels)
                    tid = bytes.fromhex(name.removeprefix("0x").removesuffix(SUFFIX)).rjust(8, b"\0")
                    if self.path(Oid(oid), Tid(tid)).name == name:
                        yield Oid(oid), Tid(tid)
