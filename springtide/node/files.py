"""The files of blobs, for clients: stored on the primary before the vote that names them, fetched from any node."""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

import grpc

from springtide import errors
from springtide.engine import BlobStore
from springtide.node.core import CATCH_UP_SECONDS, NodeCore
from springtide.primary.reign import Reign
from springtide.records.blobs import Named
from springtide.records.entries import Blob
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId
from springtide.wire import convert, status
from springtide.wire.v1 import session_pb2 as pb

log = logging.getLogger(__name__)

#: Transactions whose files are known here, so that their last abort frees them at once. Others' are swept.
TRANSACTIONS_MAX = 10_000
#: Between looks at files that nobody names.
SWEEP_SECONDS = 60.0


@dataclass(slots=True)
class _Sent:
    """What came for one transaction, and when last."""

    ids: set[bytes] = field(default_factory=set)
    at: float = 0.0


class Files:
    def __init__(self, core: NodeCore, blobs: BlobStore, blob_bytes_max: int) -> None:
        self._core = core
        self._blobs = blobs
        self._blob_bytes_max = blob_bytes_max
        self._of_transaction: OrderedDict[bytes, _Sent] = OrderedDict()
        self._to_scrub = True
        core.on_copy.append(self._copied)

    # -- storing -----------------------------------------------------------------------------------

    async def store(self, context: Any) -> pb.BlobStored:
        """Take in a file, or go on with one. What came is kept also where the call breaks off."""
        try:
            first = await context.read()
            if first is grpc.aio.EOF or first.WhichOneof("body") != "head":
                raise errors.BadRequest("a file begins with its head")
            return pb.BlobStored(held=await self._store(first.head, context))
        except errors.SpringtideError as error:
            return pb.BlobStored(error=status.to_wire(error))

    async def _store(self, head: pb.BlobHead, context: Any) -> int:
        blob = convert.blob_from_wire(head.blob)
        self._check(head, blob)
        part = await context.read()
        if part is grpc.aio.EOF:
            held = await self._blobs.held_bytes(blob)
            if held < blob.size:
                return held
        self._remember(head.transaction, blob)
        # A question about what is here as a whole, but was never finished, finishes it.
        async with self._blobs.receive(blob, None if part is grpc.aio.EOF else head.offset) as intake:
            while part is not grpc.aio.EOF and intake.held < blob.size:
                if part.WhichOneof("body") != "data":
                    raise errors.BadRequest("a file has one head, and then its data")
                await intake.write(part.data)
                part = await context.read()
                self._check_leading().touch(TransactionId(head.transaction))
            if intake.held == blob.size:
                await intake.finish()
            return intake.held

    def _check(self, head: pb.BlobHead, blob: Blob) -> None:
        core = self._core
        if head.cluster and core.cluster and head.cluster != core.cluster:
            raise errors.WrongCluster(f"node {core.node} is of cluster {core.cluster}, the client of {head.cluster}")
        settings = self._check_leading().settings
        if blob.size > self._blob_bytes_max:
            raise errors.TooLarge(
                f"a blob of {blob.size:,} bytes is larger than this cluster takes: {self._blob_bytes_max:,} "
                "(blob_bytes_max)"
            )
        if head.offset > blob.size:
            raise errors.BadRequest(f"offset {head.offset:,} is beyond the {blob.size:,} bytes of the blob")
        room = core.disk.headroom_bytes() - settings.min_free_bytes
        if blob.size - head.offset > room:
            raise errors.NoSpace(
                f"the disk of node {core.node} has no room for a blob of {blob.size:,} bytes: free space there, then "
                "commit again"
            )

    def _check_leading(self) -> Reign:
        if self._core.reign is None:
            raise self._core.not_primary()
        return self._core.reign

    def _remember(self, transaction: bytes, blob: Blob) -> None:
        if transaction:
            sent = self._of_transaction.setdefault(transaction, _Sent())
            sent.ids.add(blob.id)
            sent.at = asyncio.get_running_loop().time()
            self._of_transaction.move_to_end(transaction)
            if len(self._of_transaction) > TRANSACTIONS_MAX:
                self._of_transaction.popitem(last=False)

    async def forget(self, transaction: TransactionId) -> None:
        """It will not be committed: its files are freed, unless the log or another vote names them."""
        sent = self._of_transaction.pop(transaction, None)
        if sent is not None:
            await self._blobs.forget(sent.ids - self._voted())

    def _voted(self) -> set[bytes]:
        return self._core.reign.named_blobs() if self._core.reign is not None else set()

    # -- fetching ----------------------------------------------------------------------------------

    async def fetch(self, request: pb.FetchBlobRequest, context: Any) -> None:
        """Send the file of a revision, from an offset on."""
        try:
            named = await self._named(request)
            if named is None:
                await context.write(pb.BlobChunk(none=True))
                return
            file = await self._blobs.open(named)
            await context.write(pb.BlobChunk(head=convert.blob_to_wire(named.blob)))
            async with aclosing(self._blobs.read(file, request.offset)) as content:
                async for data in content:
                    await context.write(pb.BlobChunk(data=data))
        except errors.SpringtideError as error:
            await context.write(pb.BlobChunk(error=status.to_wire(error)))

    async def _named(self, request: pb.FetchBlobRequest) -> Named | None:
        """What is asked for. None: there is no such revision, or it has no file. Raises NotCaughtUp."""
        core = self._core
        if request.cluster and core.cluster and request.cluster != core.cluster:
            raise errors.WrongCluster(f"node {core.node} is of cluster {core.cluster}, not of {request.cluster}")
        if len(request.oid) != 8 or len(request.tid) != 8 or len(request.floor) not in (0, 8):
            raise errors.BadRequest("oids and tids have 8 bytes")
        oid, tid = Oid(request.oid), Tid(request.tid)
        await core.until_tid(max(tid, Tid(request.floor or TID_ZERO)), CATCH_UP_SECONDS)
        blob = self._blobs.blob_of(oid, tid)
        return None if blob is None else Named(blob, oid, tid)

    # -- care --------------------------------------------------------------------------------------

    async def care(self, transaction_timeout_seconds: float) -> None:
        """Until cancelled: remove files that nobody names, and after a copy what an older one left."""
        while True:
            try:
                if self._to_scrub and self._core.disk.complete:
                    self._to_scrub = False
                    removed = await self._blobs.scrub()
                    if removed:
                        log.info("node %s: %d files that no revision names are removed", self._core.node, removed)
                # A file may wait as long as the transaction it is for, and a little.
                await self._sweep(2 * transaction_timeout_seconds + SWEEP_SECONDS)
            except errors.SpringtideError as error:
                log.warning("node %s: files of blobs were not looked after: %s", self._core.node, error)
            await asyncio.sleep(SWEEP_SECONDS)

    async def _sweep(self, older_than: float) -> None:
        """Files of a transaction wait for each other: one of them may take long to come."""
        since = asyncio.get_running_loop().time() - older_than
        coming = [sent.ids for sent in self._of_transaction.values() if sent.at > since]
        await self._blobs.sweep(self._voted().union(*coming), older_than)

    def _copied(self) -> None:
        self._to_scrub = True
