"""The files of committed blobs: from the directory, else from one node after another.

What is downloaded is written under ``incoming``, under a lock, so that of several who want
one blob, in this process or in another, one fetches it and the others wait. A download that
breaks off stays there: whoever wants the blob next goes on where it ended, at whatever node.
The whole is compared with the digest that the record names before anybody sees it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import IO, Any

from ZODB.blob import BlobFile
from ZODB.POSException import POSKeyError

from springtide.client.blobs.cache import BlobCache, BlobPath
from springtide.client.blobs.directory import BlobDirectory, lock_exclusive, lock_shared, unlock
from springtide.client.blobs.downloading import Download
from springtide.client.cluster import Cluster
from springtide.client.errors import (
    BlobDirectoryFailed,
    ClusterUnavailable,
    WrongCluster,
)
from springtide.records.entries import Blob
from springtide.records.ids import Oid, Tid

#: How often it is looked whether another has downloaded a file, or the node next door has applied it.
POLL_SECONDS = 0.02
#: What was committed just before a storage was closed may not be applied yet.
CLOSED_SECONDS = 1.0
#: A file that vanishes between being found and being opened is looked for so often.
ATTEMPTS = 5


class BlobReads:
    """``blob_of`` asks the cluster what file a revision has: None for none, POSKeyError for no such revision.

    ``timeout`` bounds, in seconds, how long nothing may come: a large blob takes as long as it takes.
    """

    def __init__(
        self,
        cluster: Cluster,
        directory: BlobDirectory,
        cache: BlobCache,
        last: Callable[[], Tid],
        blob_of: Callable[[Oid, Tid], Blob | None],
        timeout: float,
    ) -> None:
        self._cluster = cluster
        self._directory = directory
        self._cache = cache
        self._last = last
        self._blob_of = blob_of
        self._timeout = timeout
        self._claimed = directory.shared

    def load(self, oid: Oid, tid: Tid) -> BlobPath:
        """The path of this revision's file, which stays there for as long as the path is held on to.

        What is here already, or on its way from a node next door, is found by a closed storage, too: ZODB's own users
        of it come that late.
        """
        file = self._directory.file(oid, tid)
        for _ in range(ATTEMPTS):
            try:
                path = self._cache.hand_out(file)
                if path is not None:
                    return path
                if self._directory.shared:
                    self._await_applied(oid, tid, file)
                else:
                    self._cluster.check_open()
                    self.claim()
                    self._fetch(oid, tid)
            except OSError as error:
                raise failed(self._directory, error) from error
        raise BlobDirectoryFailed(f"{file} vanishes as soon as it is there: does something else clean this directory?")

    def open(self, oid: Oid, tid: Tid, blob: Any) -> IO[bytes]:
        """The file, open; from then on nothing that is done to the directory concerns its reader."""
        for _ in range(ATTEMPTS):
            path = self.load(oid, tid)
            try:
                file = _opened(path, blob)
            except FileNotFoundError:
                continue
            except OSError as error:
                raise failed(self._directory, error) from error
            if self._directory.shared or lock_shared(file.fileno()):
                return file
            file.close()
        raise POSKeyError(oid)  # only a pack removes what was just there

    def claim(self) -> None:
        """Make sure that this directory has blobs of this cluster only."""
        if self._claimed:
            return
        ours = self._cluster.known_id(time.monotonic() + self._timeout)
        theirs = self._directory.claim(ours)
        if theirs != ours:
            raise WrongCluster(
                f"blob_dir {self._directory.path} holds blobs of cluster {theirs}, this storage's is {ours}: "
                "name another directory, or empty this one"
            )
        self._claimed = True

    # -- the directory of a node next door -----------------------------------------------------------------

    def _await_applied(self, oid: Oid, tid: Tid, file: str) -> None:
        if self._cluster.closed and self._appears(file, CLOSED_SECONDS):
            return
        if self._blob_of(oid, tid) is None:
            raise POSKeyError(oid)
        if not self._appears(file, self._timeout):
            self._cluster.check_open()
            raise ClusterUnavailable(
                f"the blob of oid {oid.hex()}, tid {tid.hex()} did not appear in {self._directory.path} within "
                f"{self._timeout:g} s: is it the blobs/ directory of a node, and does that node run?"
            )

    def _appears(self, file: str, seconds: float) -> bool:
        closed, deadline = self._cluster.closed, time.monotonic() + seconds
        while not os.path.exists(file):
            if time.monotonic() >= deadline or self._cluster.closed != closed:
                return False
            time.sleep(POLL_SECONDS)
        return True

    # -- downloads -----------------------------------------------------------------------------------------

    def _fetch(self, oid: Oid, tid: Tid) -> None:
        """Returns when the file is there, whoever has brought it."""
        incoming = os.path.join(self._directory.incoming, f"{oid.hex()}-{tid.hex()}")
        descriptor = self._alone(incoming, self._directory.file(oid, tid))
        if descriptor is None:
            return
        try:
            blob = Download(self._cluster, descriptor, oid, tid, self._last(), self._timeout).run()
            os.fdatasync(descriptor)
            self._directory.place(incoming, oid, tid)
            self._cache.added(blob.size)
        except BaseException:
            if _is(descriptor, incoming) and os.fstat(descriptor).st_size == 0:
                os.unlink(incoming)
            raise
        finally:
            unlock(descriptor)

    def _alone(self, incoming: str, file: str) -> int | None:
        """The incoming file, open and locked; None where another has completed it."""
        size, deadline = -1, time.monotonic() + self._timeout
        while True:
            self._cluster.check_open()
            descriptor = os.open(incoming, os.O_RDWR | os.O_CREAT, 0o600)
            ours, done = lock_exclusive(descriptor) and _is(descriptor, incoming), os.path.exists(file)
            if ours and not done:
                return descriptor
            if ours:
                os.unlink(incoming)
            grown = os.fstat(descriptor).st_size
            unlock(descriptor)
            if done:
                return None
            if grown != size:
                size, deadline = grown, time.monotonic() + self._timeout
            elif time.monotonic() >= deadline:
                raise ClusterUnavailable(
                    f"another process holds {incoming}, and has brought nothing for {self._timeout:g} s"
                )
            time.sleep(POLL_SECONDS)


def _opened(path: str, blob: Any) -> IO[bytes]:
    if blob is None:
        return open(path, "rb")
    file: IO[bytes] = BlobFile(path, "r", blob)
    return file


def _is(descriptor: int, path: str) -> bool:
    """Whether the open file is still the one of that name."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


def failed(directory: BlobDirectory, error: OSError) -> BlobDirectoryFailed:
    return BlobDirectoryFailed(f"the blob directory {directory.path} cannot be used: {error}")
