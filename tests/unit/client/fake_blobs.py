"""The files of blobs in the cluster in memory: stored on one node, and copied to all by a commit.

Steps for ``trip``: "store_blob" and "stored_part" (after each part), "fetch_blob" and "fetched_part".
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Any

import grpc

from springtide.wire.v1 import records_pb2 as records
from springtide.wire.v1 import session_pb2 as wire

PART = 64 * 1024


def digest(content: bytes) -> bytes:
    return hashlib.blake2b(content, digest_size=16).digest()


def handlers(node: Any) -> dict[str, Any]:
    return {
        "StoreBlob": grpc.stream_unary_rpc_method_handler(
            lambda parts, context: _store(node, parts, context),
            wire.BlobPart.FromString,
            wire.BlobStored.SerializeToString,
        ),
        "FetchBlob": grpc.unary_stream_rpc_method_handler(
            lambda request, context: _fetch(node, request, context),
            wire.FetchBlobRequest.FromString,
            wire.BlobChunk.SerializeToString,
        ),
    }


def missing(node: Any, writes: Iterable[wire.Write]) -> list[bytes]:
    return [write.blob.id for write in writes if write.HasField("blob") and _content(node, write) is None]


def _content(node: Any, write: wire.Write) -> bytes | None:
    uploaded = node.uploaded.get(write.blob.id)
    if uploaded is not None and digest(bytes(uploaded)) == write.blob.digest:
        return bytes(uploaded)
    repeated = node.files.get((write.oid, write.data_tid))
    return repeated if repeated is not None and digest(repeated) == write.blob.digest else None


def committed(cluster: Any, write: wire.Write, at: bytes, record: wire.IteratedRecord) -> None:
    if not write.HasField("blob"):
        return
    content = _content(cluster.primary, write)
    assert content is not None, "a vote checked that it is here"
    cluster.blobs[write.oid, at] = write.blob
    record.blob.CopyFrom(write.blob)
    for node in cluster.nodes:
        node.files[write.oid, at] = content
        node.uploaded.pop(write.blob.id, None)


def _error(code: int, message: str) -> records.Error:
    return records.Error(code=code, message=message)


def _step(node: Any, name: str, context: Any) -> None:
    from tests.unit.client.fake_node import Drop

    try:
        node.cluster.step(name)
    except Drop:
        context.abort(grpc.StatusCode.UNAVAILABLE, "dropped")


def _store(node: Any, parts: Iterator[wire.BlobPart], context: Any) -> wire.BlobStored:
    from tests.unit.client.fake_node import Refusal

    head = next(parts).head
    try:
        _step(node, "store_blob", context)
        _is_primary(node)
        first = next(parts, None)
        if first is None:
            return wire.BlobStored(held=len(node.uploaded.get(head.blob.id, b"")))
        held = node.uploaded.setdefault(head.blob.id, bytearray())
        if head.offset > len(held):
            raise Refusal(records.CODE_BAD_REQUEST, "beyond what is held")
        del held[head.offset :]
        while first is not None:
            held.extend(first.data)
            _step(node, "stored_part", context)
            first = next(parts, None)
        if len(held) == head.blob.size and digest(bytes(held)) != head.blob.digest:
            del node.uploaded[head.blob.id]
            raise Refusal(records.CODE_BAD_REQUEST, "not what its digest says")
        return wire.BlobStored(held=len(held))
    except Refusal as refusal:
        return wire.BlobStored(error=_error(refusal.code, str(refusal)))


def _is_primary(node: Any) -> None:
    from tests.unit.client.fake_node import Refusal

    if node.cluster.primary is not node:
        raise Refusal(records.CODE_NOT_PRIMARY, "not the primary")


def _fetch(node: Any, request: wire.FetchBlobRequest, context: Any) -> Iterator[wire.BlobChunk]:
    from tests.unit.client.fake_node import Refusal

    try:
        _step(node, "fetch_blob", context)
        blob = node.cluster.blobs.get((request.oid, request.tid))
        if blob is None:
            yield wire.BlobChunk(none=True)
            return
        content = node.files.get((request.oid, request.tid))
        if content is None:
            raise Refusal(records.CODE_BLOB_MISSING, "its file is not here")
        yield wire.BlobChunk(head=blob)
        for at in range(request.offset, len(content), PART):
            yield wire.BlobChunk(data=content[at : at + PART])
            _step(node, "fetched_part", context)
    except Refusal as refusal:
        yield wire.BlobChunk(error=_error(refusal.code, str(refusal)))
