"""One download: a file, from as many nodes as it takes, compared with the digest that its record names."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterator
from operator import methodcaller
from typing import Any

from ZODB.POSException import POSKeyError

from springtide.client import messages
from springtide.client.cluster import Cluster
from springtide.client.errors import ClusterUnavailable, NodeFailed, Refused, SessionLost, translated
from springtide.client.session import Session
from springtide.client.watched import Watched
from springtide.records.entries import BLOB_DIGEST_BYTES, Blob
from springtide.records.ids import Oid, Tid
from springtide.wire.v1 import session_pb2 as wire
from springtide.wire.v1.records_pb2 import CODE_BLOB_MISSING, CODE_DAMAGED, CODE_INTERNAL

METHOD = "/springtide.wire.v1.Storage/FetchBlob"
READ_BYTES = 1024 * 1024
#: A node that says nothing for so long is left for another, which goes on from there.
SILENCE_SECONDS = 5.0
#: They say nothing about the files of the other nodes.
_OF_THIS_NODE = (CODE_BLOB_MISSING, CODE_DAMAGED, CODE_INTERNAL)


class Download:
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
