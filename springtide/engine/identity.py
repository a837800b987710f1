"""Whose directory this is: ``identity.json``, and the lock that one process holds.

The identity changes rarely and each change is durable before it counts: it is
written aside, synced, renamed, and the directory is synced.
"""

from __future__ import annotations

import fcntl
import os
import secrets
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from springtide import errors
from springtide.engine import sealed
from springtide.engine.files import Files, writing
from springtide.engine.layout import check_format

IDENTITY_FORMAT = 2  # 1 had no checksum
FILE = "identity.json"


@dataclass(frozen=True, slots=True)
class Identity:
    """``promised`` is the highest epoch this directory has accepted: nothing older is followed or served."""

    node: str
    incarnation: str
    cluster: str = ""  # "" until the directory has joined one
    history: str = ""
    starts: int = 0
    promised: int = 0


def new_incarnation() -> str:
    return secrets.token_hex(16)


class IdentityFile:
    def __init__(self, directory: Path, node: str, files: Files) -> None:
        """Read the identity in ``directory``, or make one; each opening is one more start."""
        self._path = directory / FILE
        self._files = files
        found = _read(self._path)
        if found is None:
            if (directory / "log").exists() or (directory / "state").exists():
                raise errors.Damaged(f"{self._path} is missing although the directory holds data")
            found = Identity(node, new_incarnation())
        if found.node != node:
            raise errors.ForeignDirectory(
                f"{directory} belongs to node {found.node!r}, this node is {node!r}: check the settings data and node"
            )
        self.identity = found
        self.change(starts=found.starts + 1)

    def change(self, **changes: str | int) -> Identity:
        """Replace these fields; durable when this returns."""
        changed = replace(self.identity, **changes)  # type: ignore[arg-type]
        fields = {"format": IDENTITY_FORMAT, **asdict(changed)}
        with writing(self._path):
            self._files.replace(self._path, sealed.seal(fields))
        self.identity = changed
        return changed


def _read(path: Path) -> Identity | None:
    try:
        fields = sealed.unseal(path.read_bytes())
        check_format(fields.pop("format"), IDENTITY_FORMAT, str(path))
        return Identity(**fields)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise errors.DiskFailed(f"{path} could not be read: {error}") from error
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise errors.Damaged(f"{path} is not an identity: {error}") from error


class DirectoryLock:
    """Held by one process, until it closes it or ends in any way."""

    def __init__(self, directory: Path, files: Files) -> None:
        """Makes the directory, durably, where there is none."""
        path = directory / "lock"
        try:
            files.make_directories(directory)
            self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o640)
        except OSError as error:
            raise errors.DiskFailed(f"{directory} could not be opened: {error}") from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._fd)
            raise errors.Occupied(
                f"{directory} is in use by another process (it holds {path}): stop that process, or give this node "
                "a directory of its own"
            ) from error

    def release(self) -> None:
        os.close(self._fd)
