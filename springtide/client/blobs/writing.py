"""The files of a transaction: taken over from the application, on the primary before the vote, in the cache after it.

A file is kept here until its transaction has ended, because a takeover may lead to a primary
that lacks it: each vote is answered with what is missing, and that is sent again. What is
already there of a file is not sent twice.
"""

from __future__ import annotations

import hashlib
import logging
import os
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator
from typing import Any

import grpc
from ZODB.blob import rename_or_copy_blob

from springtide.client import messages
from springtide.client import transaction as tx
from springtide.client.blobs.cache import BlobCache
from springtide.client.blobs.directory import BlobDirectory, Staging
from springtide.client.errors import ClusterUnavailable, NodeFailed, Refused, SessionLost
from springtide.client.session import Session
from springtide.records.entries import BLOB_DIGEST_BYTES, BLOB_ID_BYTES, Blob
from springtide.records.ids import Oid, Tid, TransactionId
from springtide.wire.v1 import session_pb2 as wire
from springtide.wire.v1.records_pb2 import CODE_BAD_REQUEST

log = logging.getLogger(__name__)

METHOD = "/springtide.wire.v1.Storage/StoreBlob"
CHUNK_BYTES = 1024 * 1024
#: Files that travel at once: small ones cost a round trip each.
AT_ONCE = 4
#: The slowest disk or network that is waited for, when a node has to sync or to pass on what it holds.
SLOWEST_BYTES_PER_SECOND = 8 * 1024 * 1024
#: Calls for one file that bring nothing new before its node counts as failing.
FRUITLESS_CALLS = 3
_LOOK_SECONDS = 0.5


class BlobWrites:
    def __init__(
        self,
        directory: BlobDirectory,
        cache: BlobCache,
        cluster_id: Callable[[], str],
        load: Callable[[Oid, Tid], str],
        timeout: float,
    ) -> None:
        self._directory = directory
        self._cache = cache
        self._cluster_id = cluster_id
        self._load = load
        self._timeout = timeout

    def stage(self) -> Staging:
        """A place for the files of a transaction that begins to have some."""
        return self._directory.stage()

    def take(self, staging: Staging, filename: str) -> tuple[str, Blob]:
        """The file becomes ours, and is measured: from now on it must not change."""
        path = staging.name()
        rename_or_copy_blob(filename, path, chmod=False)
        return path, _measured(path)

    # -- to the primary ------------------------------------------------------------------------------------

    def supply(self, session: Session, begun: tx.Begun, missing: Collection[bytes] | None) -> None:
        """Have the node of ``session`` hold the files of this transaction: those it misses, or all new ones.

        Raises what the session would: SessionLost, Refused.
        """
        if missing is None:
            # What repeats another revision is perhaps made from that one: its node will say.
            files = [f for f in begun.buffer.files.values() if not f.repeats]
        else:
            files = self._wanted(begun, missing)
        resume, moved = missing is not None, threading.Event()
        waiting = [_Upload(session, self._cluster_id(), begun.id, f, resume, self._timeout, moved) for f in files]
        running: list[_Upload] = []
        try:
            while waiting or running:
                moved.clear()
                while waiting and len(running) < AT_ONCE:
                    running.append(waiting.pop())
                    running[-1].begin()
                running = [upload for upload in running if not upload.step()]
                if running and (len(running) == AT_ONCE or not waiting):
                    moved.wait(_LOOK_SECONDS)
        finally:
            for upload in running:
                upload.cancel()

    def patience(self, begun: tx.Begun) -> float:
        """Seconds that the vote may take longer because its files have to be on other disks, too."""
        return sum(file.blob.size for file in begun.buffer.files.values()) / SLOWEST_BYTES_PER_SECOND

    def _wanted(self, begun: tx.Begun, missing: Collection[bytes]) -> list[tx.File]:
        known = {file.blob.id: file for file in begun.buffer.files.values()}
        return [known.get(id) or self._repeated(begun, id) for id in missing]

    def _repeated(self, begun: tx.Begun, id: bytes) -> tx.File:
        """A file that the primary was to make from an earlier revision, which it lacks: another node has that."""
        for write in begun.buffer.all():
            if write.blob is not None and write.blob.id == id and write.data_tid is not None:
                return tx.File(self._load(write.oid, write.data_tid), write.blob, True)
        raise NodeFailed(f"the primary misses a blob (id {id.hex()}) that this transaction has not named")

    # -- after the commit ----------------------------------------------------------------------------------

    def place(self, begun: tx.Begun, tid: Tid) -> None:
        """The transaction is committed: its files are revisions like others, and need no download."""
        if self._directory.shared:
            return
        for oid, file in begun.buffer.files.items():
            try:
                self._directory.place(file.path, oid, tid)
            except OSError as error:
                log.warning("a blob that was committed is not kept in %s: %s", self._directory.path, error)
            else:
                self._cache.added(file.blob.size)


def _measured(path: str) -> Blob:
    """A new name for the content of this file, which is on the disk when this returns."""
    digest, size = hashlib.blake2b(digest_size=BLOB_DIGEST_BYTES), 0
    with open(path, "rb") as file:
        while data := file.read(CHUNK_BYTES):
            digest.update(data)
            size += len(data)
        os.fdatasync(file.fileno())
    return Blob(secrets.token_bytes(BLOB_ID_BYTES), size, digest.digest())


class _Upload:
    """One file on its way to one node, in one call after another until the node holds all of it."""

    def __init__(
        self,
        session: Session,
        cluster: str,
        transaction: TransactionId,
        file: tx.File,
        resume: bool,
        timeout: float,
        ended: threading.Event,
    ) -> None:
        self._session = session
        self._head = wire.BlobHead(cluster=cluster, transaction=transaction, blob=messages.to_blob(file.blob))
        self._file = file
        self._timeout = timeout + file.blob.size / SLOWEST_BYTES_PER_SECOND
        self._held = 0
        self._asking = resume
        self._fruitless = 0
        self._call: Any = None
        self._ended = ended
        self._stopped = threading.Event()

    def begin(self) -> None:
        self._moved = time.monotonic()
        self._stopped = threading.Event()
        call = self._session.channel.stream_unary(
            METHOD,
            request_serializer=wire.BlobPart.SerializeToString,
            response_deserializer=wire.BlobStored.FromString,
        )
        try:
            self._call = call.future(self._parts(self._held, self._asking, self._stopped))
        except ValueError:
            raise SessionLost(f"{self._session.address}: closed") from None
        self._call.add_done_callback(lambda _: self._ended.set())

    def _parts(self, offset: int, head_only: bool, stopped: threading.Event) -> Iterator[wire.BlobPart]:
        """Runs on gRPC's thread, which takes the next part when the node has taken the one before."""
        self._head.offset = offset
        yield wire.BlobPart(head=self._head)
        if head_only:
            return
        with open(self._file.path, "rb") as file:
            file.seek(offset)
            data = file.read(CHUNK_BYTES)
            yield wire.BlobPart(data=data)  # also where the file is empty
            while data and not stopped.is_set():
                self._moved = time.monotonic()
                data = file.read(CHUNK_BYTES)
                if data:
                    yield wire.BlobPart(data=data)

    def step(self) -> bool:
        """Whether the node holds the whole file; begins the next call where one has ended early."""
        if not self._call.done():
            if not self._session.alive:
                raise SessionLost(f"the session with {self._session.node} has ended")
            if time.monotonic() - self._moved > self._timeout:
                raise ClusterUnavailable(f"node {self._session.node} took nothing of a blob for {self._timeout:.0f} s")
            return False
        try:
            stored = self._call.result()
        except (grpc.RpcError, grpc.FutureCancelledError) as error:
            raise SessionLost(f"{self._session.address}: a blob was not taken: {error}") from None
        size, asked = self._file.blob.size, self._asking
        if stored.error.code == CODE_BAD_REQUEST and not asked and self._fruitless < FRUITLESS_CALLS:
            # It holds less than we thought (it forgot the file, or found it damaged): ask how much.
            self._fruitless += 1
            self._asking = True
        elif stored.error.code:
            raise Refused(stored.error.code, stored.error.message, self._session.node, stored.error.primary)
        elif stored.held == size and (size or not asked):  # of an empty file all is there before it is stored
            return True
        elif not asked and stored.held <= self._held and self._fruitless >= FRUITLESS_CALLS:
            raise SessionLost(f"node {self._session.node} does not get further than byte {stored.held} of a blob")
        else:
            self._fruitless += not asked and stored.held <= self._held
            self._held, self._asking = stored.held, False
        self.begin()
        return False

    def cancel(self) -> None:
        self._stopped.set()
        if self._call is not None:
            self._call.cancel()
