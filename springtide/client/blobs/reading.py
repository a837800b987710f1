"""The files of committed blobs: from the directory, else from one node after another.

What is downloaded is written under ``incoming``, under a lock, so that of several who want
one blob, in this process or in another, one fetches it and the others wait. A download that
breaks off stays there: whoever wants the blob next goes on where it ended, at whatever node.
The whole is compared with the digest that the record names before anybody sees it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator
from operator import methodcaller
from typing import IO, Any

from ZODB.blob import BlobFile
from ZODB.POSException import POSKeyError

from springtide.client import messages
from springtide.client.blobs.cache import BlobCache, BlobPath
from springtide.client.blobs.directory import BlobDirectory, lock_exclusive, lock_shared, unlock
from springtide.client.cluster import Cluster
from springtide.client.errors import (
    BlobDirectoryFailed,
    ClusterUnavailable,
    NodeFailed,
    Refused,
    SessionLost,
    WrongCluster,
    translated,
)
from springtide.client.session import Session, Watched
from springtide.records.entries import BLOB_DIGEST_BYTES, Blob
from springtide.records.ids import Oid, Tid
from springtide.wire.v1 import session_pb2 as wire
from springtide.wire.v1.records_pb2 import CODE_BLOB_MISSING, CODE_DAMAGED, CODE_INTERNAL

METHOD = "/springtide.wire.v1.Storage/FetchBlob"
READ_BYTES = 1024 * 1024
#: How often it is looked whether another has downloaded a file, or the node next door has applied it.
POLL_SECONDS = 0.02
#: A node that says nothing for so long is left for another, which goes on from there.
SILENCE_SECONDS = 5.0
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
            blob = _Download(self._cluster, descriptor, oid, tid, self._last(), self._timeout).run()
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


class _Download:
    """One file, from as many nodes as it takes."""

    def __init__(self, cluster: Cluster, descriptor: int, oid: Oid, tid: Tid, floor: Tid, timeout: float) -> None:
        self._cluster = cluster
        self._descriptor = descriptor
        self._oid, self._tid, self._floor = oid, tid, floor
        self._timeout = timeout
        self._deadline = time.monotonic() + timeout
        self._blob: Blob | None = None
        self._restart()
        self._take_up()

    def _restart(self) -> None:
        self._digest = hashlib.blake2b(digest_size=BLOB_DIGEST_BYTES)
        self._have = 0

    def _take_up(self) -> None:
        """What an earlier download has brought counts, too."""
        while data := os.pread(self._descriptor, READ_BYTES, self._have):
            self._digest.update(data)
            self._have += len(data)

    def run(self) -> Blob:
        """Returns when the file is whole. POSKeyError: there is no such blob."""
        tried: set[str] = set()
        failure: Exception | None = None
        while True:
            session = self._cluster.reader(self._deadline, tried)
            self._cluster.noted(methodcaller("released", session.node))
            try:
                for chunk in self._chunks(session):
                    self._take(chunk, session)
                return self._whole(session)
            except Refused as refusal:
                if not (refusal.elsewhere or refusal.code in _OF_THIS_NODE):
                    raise translated(refusal) from None
                failure = refusal
            except SessionLost as lost:
                failure = lost
            if time.monotonic() >= self._deadline:
                raise self._given_up(failure)
            tried = {session.node} if session.node in tried else {*tried, session.node}
            self._cluster.pause(self._deadline)

    def _chunks(self, session: Session) -> Iterator[Any]:
        request = wire.FetchBlobRequest(
            cluster=self._cluster.id, oid=self._oid, tid=self._tid, floor=self._floor, offset=self._have
        )
        call = session.channel.unary_stream(
            METHOD,
            request_serializer=wire.FetchBlobRequest.SerializeToString,
            response_deserializer=wire.BlobChunk.FromString,
        )
        try:
            chunks = Watched(call(request), min(SILENCE_SECONDS, self._timeout))
        except ValueError:
            raise SessionLost(f"{session.address}: closed") from None
        try:
            yield from chunks
        finally:
            chunks.cancel()

    def _take(self, chunk: wire.BlobChunk, session: Session) -> None:
        self._cluster.check_open()
        match chunk.WhichOneof("body"):
            case "data":
                self._write(chunk.data)
                self._deadline = time.monotonic() + self._timeout
            case "head":
                blob = messages.blob(chunk.head)
                fits = self._blob in (None, blob) and self._have <= blob.size
                self._blob = blob
                if not fits:
                    self._discard()
                    raise SessionLost("begun anew: what was there is not of this file")
            case "none":
                raise POSKeyError(self._oid)
            case "error":
                raise Refused(chunk.error.code, chunk.error.message, session.node, chunk.error.primary)

    def _write(self, data: bytes) -> None:
        written = 0
        while written < len(data):
            written += os.pwrite(self._descriptor, data[written:], self._have + written)
        self._digest.update(data)
        self._have += len(data)

    def _whole(self, session: Session) -> Blob:
        blob = self._blob
        if blob is None or self._have < blob.size:
            raise SessionLost(f"node {session.node} ended the blob at byte {self._have}")
        if self._have > blob.size or self._digest.digest() != blob.digest:
            self._discard()
            self._cluster.noted(lambda balance: balance.failed(session.node, time.monotonic()))
            raise Refused(
                CODE_DAMAGED,
                f"the blob of oid {self._oid.hex()}, tid {self._tid.hex()} is not what its record says",
                session.node,
            )
        return blob

    def _discard(self) -> None:
        os.ftruncate(self._descriptor, 0)
        self._restart()

    def _given_up(self, failure: Exception) -> Exception:
        what = f"the blob of oid {self._oid.hex()}, tid {self._tid.hex()}"
        if isinstance(failure, Refused) and failure.code in _OF_THIS_NODE:
            return NodeFailed(f"no node could give {what}: {failure}; `springtide verify` compares the nodes")
        return ClusterUnavailable(f"{what} could not be loaded, nothing came for {self._timeout:g} s: {failure}")


#: They say nothing about the files of the other nodes.
_OF_THIS_NODE = (CODE_BLOB_MISSING, CODE_DAMAGED, CODE_INTERNAL)


def failed(directory: BlobDirectory, error: OSError) -> BlobDirectoryFailed:
    return BlobDirectoryFailed(f"the blob directory {directory.path} cannot be used: {error}")
