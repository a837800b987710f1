"""Keeping a blob directory within its bound, in the background.

In use, and so never removed, is a file

* that somebody has open, or that is being downloaded: it is locked, across processes;
* whose path is alive in this process: ZODB keeps the path that it was given for as long as
  a ``Blob`` is active, and reads from it without asking again. Paths are therefore handed
  out as objects that can be seen to be alive, and their files are touched now and then;
* that was used in the last ``SPARED_SECONDS``: so other processes see what is touched.

So the bound is kept by what is not in use, and a directory whose blobs are all in use is larger.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref

from springtide.client.blobs.directory import BlobDirectory, touch
from springtide.client.blobs.eviction import SPARED_SECONDS, check_every, excess, removable

log = logging.getLogger(__name__)

#: Files whose paths are alive are touched this often: often enough for one failure, or a slow machine.
TOUCH_SECONDS = SPARED_SECONDS / 3
#: While another process looks through the directory, what has been added here waits for so long.
BUSY_SECONDS = 5.0


class BlobPath(str):
    """The name of a file that is spared for as long as this very object lives."""


class BlobCache:
    """``bytes_max`` None: everything is kept. ``percent`` of it may be added before it is looked through again."""

    def __init__(self, directory: BlobDirectory, bytes_max: int | None, percent: int) -> None:
        self.directory = directory
        self.closed = False
        #: Set without any lock, by a finalizer: nobody uses the storage any more.
        self.abandoned = False
        self._bytes_max = None if directory.shared else bytes_max
        self._step = check_every(bytes_max or 0, percent)
        self._alive: weakref.WeakValueDictionary[str, BlobPath] = weakref.WeakValueDictionary()
        self._added = self._step + 1  # so it is looked through at first, too
        self._make_locks()

    def _make_locks(self) -> None:
        self._lock = threading.Lock()
        self._wake = threading.Condition(self._lock)
        self._thread: threading.Thread | None = None

    def forked(self) -> None:
        self._make_locks()

    def hand_out(self, file: str) -> BlobPath | None:
        """The path of a file that is here, from now on in use; None if it is not here."""
        if self.directory.shared:
            return BlobPath(file) if os.path.exists(file) else None
        path = self._alive.get(file)
        if path is None:
            path = BlobPath(file)
            path = self._alive.setdefault(file, path)
        self._ensure_running()
        return path if touch(file, unless_within=TOUCH_SECONDS / 2) else None

    def added(self, count: int) -> None:
        """So many bytes are new in the directory."""
        self._ensure_running()
        with self._lock:
            self._added += count
            if self._added > self._step:
                self._wake.notify_all()

    def close(self) -> None:
        with self._lock:
            self.closed = True
            thread, self._thread = self._thread, None
            self._wake.notify_all()
        if thread is not None and thread is not threading.current_thread():
            thread.join(BUSY_SECONDS)

    # -- the thread that cleans ------------------------------------------------------------------------

    def _ensure_running(self) -> None:
        if self._bytes_max is None or self._thread is not None:
            return
        with self._lock:
            if self._thread is None and not self.closed:
                self._thread = threading.Thread(target=self._run, name="springtide-blobs", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        touch_at, look_at = time.monotonic() + TOUCH_SECONDS, 0.0
        while True:
            with self._lock:
                if self._added <= self._step and not self.closed:
                    self._wake.wait(TOUCH_SECONDS / 2)
                if self.closed or self.abandoned:
                    return
                now, added = time.monotonic(), self._added
            try:
                if now >= touch_at:
                    touch_at = now + TOUCH_SECONDS
                    for path in list(self._alive):
                        touch(path, unless_within=0)
                if added > self._step or now >= look_at:
                    # What is in use now may be too much, and out of use later, without anything being added.
                    look_at = now + TOUCH_SECONDS if self.clean() else float("inf")
            except Busy:
                with self._lock:
                    if not self.closed:
                        self._wake.wait(BUSY_SECONDS)
                continue
            except Exception:
                log.exception("looking through the blob directory %s failed", self.directory.path)
            with self._lock:
                self._added -= added

    def clean(self) -> bool:
        """Remove what is too much. Whether it is still too much, because it is in use; Busy if another is at it."""
        assert self._bytes_max is not None
        removed = []
        with self.directory.cleaning() as ours:
            if not ours:
                raise Busy
            files = list(self.directory.kept())
            over = excess(files, self._bytes_max - self._step)
            for file in removable(files, self._alive, time.time()):
                if over <= 0:
                    break
                if file.path not in self._alive and self.directory.remove(file):
                    removed.append(file)
                    over -= file.bytes
        if removed:
            log.info(
                "removed %d files with %d bytes from the blob directory %s",
                len(removed),
                sum(file.bytes for file in removed),
                self.directory.path,
            )
        return over > 0


class Busy(Exception):
    """Another process, or another storage of this one, looks through the directory."""
