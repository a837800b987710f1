"""Where a local cluster keeps its files: a directory that one cluster at a time may use."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from springtide.errors import Occupied


class ClusterDirectory:
    """A directory that is kept, or a temporary one, which is not. Nobody else's while it is taken."""

    def __init__(self, wanted: Path | None) -> None:
        self._wanted = wanted
        self._lock: int | None = None

    def take(self) -> Path:
        """Make the directory where it is not there, and lock it before anything is written into it."""
        path = self._path = self._wanted or Path(tempfile.mkdtemp(prefix="springtide-"))
        path.mkdir(parents=True, exist_ok=True)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(lock)
            raise Occupied(f"{path} is in use by another LocalCluster: end that one, or name another one") from error
        self._lock = lock
        return path

    def release(self) -> None:
        if self._lock is None:
            return
        os.close(self._lock)
        self._lock = None
        if self._wanted is None:
            shutil.rmtree(self._path, ignore_errors=True)
