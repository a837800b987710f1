"""A client of blobs that speaks the wire contract and nothing more: what a test tells it, when it is told to."""

from __future__ import annotations

import hashlib
import os
import queue
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Self

import grpc

from springtide.wire import WIRE_VERSION, channels
from springtide.wire.v1 import records_pb2, session_pb2_grpc
from springtide.wire.v1 import session_pb2 as pb

SECONDS = 60.0
CHUNK = 2**20


def blob_of(content: bytes) -> pb.Blob:
    """A name of its own for this content."""
    return pb.Blob(id=os.urandom(16), size=len(content), digest=hashlib.blake2b(content, digest_size=16).digest())


def chunks(content: bytes, offset: int = 0) -> Iterator[bytes]:
    yield content[offset : offset + CHUNK]
    for at in range(offset + CHUNK, len(content), CHUNK):
        yield content[at : at + CHUNK]


@dataclass
class Refused(Exception):
    code: int
    message: str


@dataclass
class Fetched:
    head: pb.Blob | None = None
    digest: Any = field(default_factory=lambda: hashlib.blake2b(digest_size=16))
    size: int = 0
    none: bool = False


class BlobClient:
    """One session with one node."""

    def __init__(self, address: str) -> None:
        self._channel = channels.blocking(address)
        self._stub = session_pb2_grpc.StorageStub(self._channel)
        self._requests: queue.SimpleQueue[pb.ClientMessage | None] = queue.SimpleQueue()
        self._number = 0
        self._answers = self._stub.Session(iter(self._requests.get, None), timeout=10 * SECONDS)
        self.welcome = self._ask(hello=pb.SessionHello(wire_version=WIRE_VERSION, client="test")).welcome

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._requests.put(None)
        self._channel.close()

    def tell(self, **body: Any) -> int:
        self._number += 1
        self._requests.put(pb.ClientMessage(request=self._number, **body))
        return self._number

    def answer(self, number: int) -> pb.NodeMessage:
        for message in self._answers:
            if message.request == number:
                if message.HasField("error"):
                    raise Refused(message.error.code, message.error.message)
                return message
        raise EOFError("the node ended the session")

    def _ask(self, **body: Any) -> pb.NodeMessage:
        return self.answer(self.tell(**body))

    # -- files -------------------------------------------------------------------------------------

    def held(self, blob: pb.Blob) -> int:
        return self.store(blob, None)

    def store(self, blob: pb.Blob, data: Iterable[bytes] | None, offset: int = 0, transaction: bytes = b"") -> int:
        """Send the file; None: ask only how much of it is there. Returns what the node holds now."""

        def parts() -> Iterator[pb.BlobPart]:
            yield pb.BlobPart(head=pb.BlobHead(blob=blob, offset=offset, transaction=transaction))
            for part in () if data is None else data:
                yield pb.BlobPart(data=part)

        stored = self._stub.StoreBlob(parts(), timeout=10 * SECONDS)
        if stored.HasField("error"):
            raise Refused(stored.error.code, stored.error.message)
        return int(stored.held)

    def fetch(self, oid: bytes, tid: bytes, offset: int = 0) -> Fetched:
        found = Fetched()
        for chunk in self._stub.FetchBlob(pb.FetchBlobRequest(oid=oid, tid=tid, offset=offset), timeout=10 * SECONDS):
            match chunk.WhichOneof("body"):
                case "head":
                    found.head = chunk.head
                case "data":
                    found.digest.update(chunk.data)
                    found.size += len(chunk.data)
                case "none":
                    found.none = True
                case _:
                    raise Refused(chunk.error.code, chunk.error.message)
        return found

    # -- transactions ------------------------------------------------------------------------------

    def vote(self, transaction: bytes, writes: Iterable[pb.Write], count: int | None = None) -> pb.Voted:
        """With no writes, ``count`` says how many were sent before."""
        stores = list(writes)
        vote = pb.Vote(transaction=transaction, attempt=1, writes=count or len(stores), stores=stores)
        return self._ask(vote=vote).voted

    def finish(self, transaction: bytes, epoch: int) -> bytes:
        return bytes(self._ask(finish=pb.Finish(transaction=transaction, attempt=1, epoch=epoch)).finished.tid)

    def abort(self, transaction: bytes) -> None:
        self._ask(abort=pb.Abort(transaction=transaction, attempt=1, last=True))

    def commit(self, oid: bytes, content: bytes, serial: bytes = bytes(8)) -> bytes:
        """One object with one file; its tid."""
        blob, transaction = blob_of(content), os.urandom(24)
        assert self.store(blob, chunks(content)) == len(content)
        voted = self.vote(transaction, [write(oid, blob, serial)])
        assert not voted.conflicts and not voted.missing_blobs
        return self.finish(transaction, voted.epoch)


def write(oid: bytes, blob: pb.Blob | None, serial: bytes = bytes(8), data_tid: bytes = b"") -> pb.Write:
    record = b"a record of " + oid
    return pb.Write(oid=oid, serial=serial, kind=pb.Write.KIND_STORE, data=record, blob=blob, data_tid=data_tid)


def code(name: str) -> int:
    return int(records_pb2.Code.Value(name))


__all__ = ["BlobClient", "Fetched", "Refused", "blob_of", "chunks", "code", "grpc", "write"]
