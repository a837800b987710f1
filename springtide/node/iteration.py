"""Transactions in tid order, streamed to whoever copies the database."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any, cast

import grpc

from springtide import errors
from springtide.node.core import CATCH_UP_SECONDS, NodeCore
from springtide.node.past import PastDisk
from springtide.records.entries import Transaction
from springtide.records.ids import TID_MAX, TID_ZERO, Tid
from springtide.wire import convert
from springtide.wire.v1 import session_pb2 as pb


async def iterate(core: NodeCore, request: pb.IterateRequest, context: Any) -> None:
    """Serve one Iterate call: a snapshot as of its beginning."""
    if request.cluster and core.cluster and request.cluster != core.cluster:
        await context.abort(grpc.StatusCode.FAILED_PRECONDITION, f"this is a node of cluster {core.cluster}")
    try:
        await core.until_tid(Tid(request.floor or TID_ZERO), CATCH_UP_SECONDS)
        stop = min(Tid(request.stop or TID_MAX), core.disk.commit_tid)
        transactions = iter(core.disk.transactions(Tid(request.start or TID_ZERO), stop))
        while (transaction := await asyncio.to_thread(next, transactions, None)) is not None:
            for message in _messages(cast(PastDisk, core.disk), transaction, request.heads_only):
                await context.write(message)
    except (errors.TryAgain, errors.Damaged) as error:
        await context.abort(grpc.StatusCode.UNAVAILABLE, str(error))


def _messages(disk: PastDisk, transaction: Transaction, heads_only: bool) -> Iterator[pb.IterateAnswer]:
    yield pb.IterateAnswer(
        head=pb.IteratedHead(
            tid=transaction.tid,
            status=transaction.status,
            user=transaction.user,
            description=transaction.description,
            extension=transaction.extension,
        )
    )
    if heads_only:
        return
    for write in transaction.writes:
        for data, more in convert.pieces(write.data or b""):
            record = pb.IteratedRecord(oid=write.oid, data=data, more=more, absent=write.data is None)
            if write.data_tid is not None and disk.said(write.oid, write.data_tid, write.data):
                record.data_tid = write.data_tid
            if write.blob is not None:
                record.blob.CopyFrom(convert.blob_to_wire(write.blob))
            yield pb.IterateAnswer(record=record)
