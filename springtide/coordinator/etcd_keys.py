"""Which keys a cluster has in etcd, and what is asked about them.

``record`` is the one key that is swapped; ``announcements/NODE`` are under leases;
``starts/NODE`` are raised by compare-and-swap. All are under ``/springtide/NAME/``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from aetcd.rpc import rpc_pb2

from springtide.coordinator.store import RawView, check_name
from springtide.records.ids import NodeId


class Keys:
    def __init__(self, name: str) -> None:
        self.prefix = f"/springtide/{check_name(name)}/".encode()
        #: The end of the range of all keys that begin with the prefix, which ends in a slash.
        self.end = self.prefix[:-1] + bytes([self.prefix[-1] + 1])
        self.record = self.prefix + b"record"

    def announcement(self, node: NodeId) -> bytes:
        return self.prefix + b"announcements/" + node.encode()

    def starts(self, node: NodeId) -> bytes:
        return self.prefix + b"starts/" + node.encode()

    def everything(self) -> Any:
        return rpc_pb2.RangeRequest(key=self.prefix, range_end=self.end)

    def watch_from(self, revision: int) -> Any:
        return rpc_pb2.WatchRequest(
            create_request=rpc_pb2.WatchCreateRequest(
                key=self.prefix, range_end=self.end, start_revision=revision, progress_notify=True
            )
        )

    def view(self, kvs: Sequence[Any]) -> RawView:
        """What a range over everything found. Keys that are none of ours are passed over."""
        revision, record = 0, b""
        announcements: dict[str, bytes] = {}
        starts: dict[str, int] = {}
        for kv in kvs:
            kind, _, node = kv.key[len(self.prefix) :].decode(errors="replace").partition("/")
            if kv.key == self.record:
                revision, record = kv.mod_revision, kv.value
            elif kind == "announcements":
                announcements[node] = kv.value
            elif kind == "starts" and kv.value.isdigit():
                starts[node] = int(kv.value)
        return RawView(revision, record, announcements, starts)


def swap(key: bytes, value: bytes, revision: int, then: Any) -> Any:
    """Put, if the key was last written at ``revision`` (0: if it does not exist); then a range, in any case."""
    ranged = rpc_pb2.RequestOp(request_range=then)
    return rpc_pb2.TxnRequest(
        compare=[_written_at(key, revision)], success=[_put(key, value), ranged], failure=[ranged]
    )


def delete(key: bytes, revision: int) -> Any:
    """Delete, if the key was last written at ``revision``."""
    operation = rpc_pb2.RequestOp(request_delete_range=rpc_pb2.DeleteRangeRequest(key=key))
    return rpc_pb2.TxnRequest(compare=[_written_at(key, revision)], success=[operation])


def put_under_lease(key: bytes, value: bytes, lease: int) -> Any:
    """Put, unless it is there as it should be: what is put again unchanged would wake every watcher."""
    as_it_should_be = [
        rpc_pb2.Compare(result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.VALUE, key=key, value=value),
        rpc_pb2.Compare(result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.LEASE, key=key, lease=lease),
    ]
    return rpc_pb2.TxnRequest(compare=as_it_should_be, failure=[_put(key, value, lease)])


def _written_at(key: bytes, revision: int) -> Any:
    return rpc_pb2.Compare(result=rpc_pb2.Compare.EQUAL, target=rpc_pb2.Compare.MOD, key=key, mod_revision=revision)


def _put(key: bytes, value: bytes, lease: int = 0) -> Any:
    return rpc_pb2.RequestOp(request_put=rpc_pb2.PutRequest(key=key, value=value, lease=lease))
