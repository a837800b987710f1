"""``springtide compact``."""

from __future__ import annotations

from typing import Any

import grpc

from springtide.cli.uri import admin
from springtide.testing.asking import in_words
from springtide.wire.v1 import admin_pb2


def run(uri: str) -> int:
    with admin(uri) as nodes:
        for address in nodes.addresses:
            _compact(nodes.stub(address), address)
    return 0


def _compact(stub: Any, address: str) -> None:
    try:
        for progress in stub.Compact(admin_pb2.CompactRequest()):
            if progress.after:
                print(f"{address}: {progress.before:,} bytes before, {progress.after:,} now")
            else:
                print(f"{address}: {progress.written:,} bytes written, at most {progress.before:,}", flush=True)
    except grpc.RpcError as error:
        raise in_words(address, error) from None
