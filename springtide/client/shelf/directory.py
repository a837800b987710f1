"""The directory of a shelf: which file is in use, by whom, and whether it can be whole.

``current.json`` names the environment in use; to begin anew is to name another. What was in use goes on
existing for the processes that have it open, until they look again. A lock on ``lock`` is held around every change;
each process that uses an environment holds a shared lock on its ``users``.

Nothing is synced while in use, so a file is whole only if the machine has run on since it was first
written, or if its last user synced it: ``current.json`` tells which, by the machine's boot id.
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from springtide.client.shelf.rows import Doubtful, Identity
from springtide.client.shelf.table import Table
from springtide.errors import ConfigError

log = logging.getLogger(__name__)

#: Processes and threads of one host that read at the same time.
READERS_MAX = 1024
#: Beyond what is kept: what one writing adds before it evicts, and pages that readers still hold.
SPARE_BYTES = 128 * 2**20
_CURRENT, _LOCK, _USERS = "current.json", "lock", "users"


class Shelf:
    """An environment, open in this process: LMDB wants no more than one of each."""

    def __init__(self, directory: Path, name: str, table: Table, identity: Identity, users: int) -> None:
        self.identity = identity
        self.directory = directory
        self.name = name
        self.table = table
        self.uses = 1
        self._users = users  # a file descriptor

    @property
    def path(self) -> Path:
        return self.directory / self.name

    @property
    def in_use(self) -> bool:
        """Whether this is still the one that ``current.json`` names."""
        return _read(self.directory).get("name") == self.name

    @property
    def shared(self) -> bool:
        """Whether other processes use it, too."""
        return not self._alone()

    def close(self, sync: bool = True) -> None:
        """What was written outlives the machine if this was the last one to use it, unless it is used again soon."""
        with _opening, _locked(self.directory):
            self.uses -= 1
            if self.uses:
                return
            _open.pop(self.path, None)
            if sync and self._alone() and self.in_use:
                with suppress(Exception):  # then it is dropped when it is next opened after a crash
                    self.table.sync()
                    _write(self.directory, self.name, clean=True)
            self.table.close()
            fcntl.flock(self._users, fcntl.LOCK_UN)
            os.close(self._users)

    def discard(self) -> None:
        """Nobody shall open it any more."""
        with _opening, _locked(self.directory):
            if self.in_use:
                (self.directory / _CURRENT).unlink()
            shutil.rmtree(self.path, ignore_errors=True)

    def _alone(self) -> bool:
        """The lock is held, or does not matter."""
        try:
            fcntl.flock(self._users, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        finally:
            fcntl.flock(self._users, fcntl.LOCK_SH)
        return True


_opening = threading.RLock()
_open: dict[Path, Shelf] = {}
#: A parent's, in a child, that could not be closed in time: LMDB forbids to touch them, even to close them.
_PARENTS: list[Shelf] = []


def forked() -> None:
    global _opening
    _opening = threading.RLock()
    _PARENTS.extend(_open.values())
    _open.clear()


def prepare(directory: Path) -> None:
    """Raises ``ConfigError`` where there can be no shelf."""
    try:
        import lmdb  # noqa: F401
    except ImportError:
        raise ConfigError(
            "a cache_dir needs LMDB, which is not installed: pip install springtide[cache], or leave cache_dir out"
        ) from None
    try:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _locked(directory):
            pass
    except OSError as error:
        raise ConfigError(f"cache_dir {directory} cannot be used: {error}") from None


def opened(directory: Path, bytes_max: int) -> Shelf | None:
    """What is in use there, if it can be whole."""
    with _opening, _locked(directory):
        current = _read(directory)
        name = current.get("name")
        if not isinstance(name, str):
            return None
        if any(shelf.path == directory / name for shelf in _PARENTS):
            return None
        if not current.get("clean") and current.get("boot") != _boot():
            log.warning("dropping the cache in %s: the machine stopped while it was in use", directory)
        else:
            try:
                return _enter(directory, name, bytes_max)
            except Exception as error:
                log.warning("dropping the cache in %s, which cannot be opened: %s", directory, error)
        (directory / _CURRENT).unlink()
        shutil.rmtree(directory / name, ignore_errors=True)
        return None


def begun(directory: Path, bytes_max: int, begin: Callable[[Table], None]) -> Shelf:
    """A new one, in the place of what is in use there. ``begin`` writes the first of it."""
    with _opening, _locked(directory):
        old = _read(directory).get("name")
        name = f"records-{secrets.token_hex(4)}"
        (directory / name).mkdir(mode=0o700)
        table = _table(directory / name, bytes_max)
        try:
            begin(table)
        finally:
            table.close()
        shelf = _enter(directory, name, bytes_max)
        if isinstance(old, str):
            shutil.rmtree(directory / old, ignore_errors=True)
        return shelf


def _enter(directory: Path, name: str, bytes_max: int) -> Shelf:
    path = directory / name
    if (shelf := _open.get(path)) is not None:
        shelf.uses += 1
        return shelf
    if not (path / "data.mdb").exists():
        raise Doubtful("its file is gone")
    users = os.open(path / _USERS, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(users, fcntl.LOCK_SH)
        if _read(directory) != _current(name, clean=False):
            _write(directory, name, clean=False)
        table = _table(path, bytes_max)
        try:
            table.forget_dead_readers()
            identity = table.state().identity
        except BaseException:
            table.close()
            raise
    except BaseException:
        os.close(users)
        raise
    shelf = _open[path] = Shelf(directory, name, table, identity, users)
    return shelf


def _table(path: Path, bytes_max: int) -> Table:
    import lmdb

    environment: Any = lmdb.open(
        str(path),
        map_size=2 * bytes_max + SPARE_BYTES,
        max_dbs=4,
        max_readers=READERS_MAX,
        sync=False,  # see above
        metasync=False,
        readahead=False,
        mode=0o600,
    )
    try:
        return Table(environment, bytes_max)
    except BaseException:
        environment.close()
        raise


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    file = os.open(directory / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)  # said, not left to closing: a process that was forked meanwhile has it open
        os.close(file)


def _read(directory: Path) -> dict[str, object]:
    with suppress(OSError, ValueError):
        content = json.loads((directory / _CURRENT).read_text())
        if isinstance(content, dict):
            return content
    return {}


def _write(directory: Path, name: str, clean: bool) -> None:
    new = directory / f"{_CURRENT}.new"
    new.write_text(json.dumps(_current(name, clean)))
    with open(new) as file:
        os.fsync(file.fileno())
    os.replace(new, directory / _CURRENT)


def _current(name: str, clean: bool) -> dict[str, object]:
    return {"name": name, "boot": _boot(), "clean": clean}


def _boot() -> str:
    """One run of this machine. Where it cannot be told, every unclean end counts as the machine's."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return secrets.token_hex(8)
