from springtide.wire.v1 import records_pb2 as _records_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusAnswer(_message.Message):
    __slots__ = ("node", "cluster", "history", "incarnation", "uptime", "role", "epoch", "in_sync", "min_in_sync", "last", "commit", "applied", "last_tid", "topology", "version", "reads_served", "followers", "store_reachable", "note", "diverged", "record_epoch", "packs", "packing")
    NODE_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    ROLE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    MIN_IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    LAST_TID_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    READS_SERVED_FIELD_NUMBER: _ClassVar[int]
    FOLLOWERS_FIELD_NUMBER: _ClassVar[int]
    STORE_REACHABLE_FIELD_NUMBER: _ClassVar[int]
    NOTE_FIELD_NUMBER: _ClassVar[int]
    DIVERGED_FIELD_NUMBER: _ClassVar[int]
    RECORD_EPOCH_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    PACKING_FIELD_NUMBER: _ClassVar[int]
    node: str
    cluster: str
    history: str
    incarnation: str
    uptime: str
    role: str
    epoch: int
    in_sync: _containers.RepeatedCompositeFieldContainer[_records_pb2.Member]
    min_in_sync: int
    last: _records_pb2.Point
    commit: int
    applied: int
    last_tid: bytes
    topology: _records_pb2.Topology
    version: str
    reads_served: int
    followers: _containers.RepeatedCompositeFieldContainer[FollowerStatus]
    store_reachable: bool
    note: str
    diverged: _containers.RepeatedScalarFieldContainer[str]
    record_epoch: int
    packs: int
    packing: bool
    def __init__(self, node: _Optional[str] = ..., cluster: _Optional[str] = ..., history: _Optional[str] = ..., incarnation: _Optional[str] = ..., uptime: _Optional[str] = ..., role: _Optional[str] = ..., epoch: _Optional[int] = ..., in_sync: _Optional[_Iterable[_Union[_records_pb2.Member, _Mapping]]] = ..., min_in_sync: _Optional[int] = ..., last: _Optional[_Union[_records_pb2.Point, _Mapping]] = ..., commit: _Optional[int] = ..., applied: _Optional[int] = ..., last_tid: _Optional[bytes] = ..., topology: _Optional[_Union[_records_pb2.Topology, _Mapping]] = ..., version: _Optional[str] = ..., reads_served: _Optional[int] = ..., followers: _Optional[_Iterable[_Union[FollowerStatus, _Mapping]]] = ..., store_reachable: bool = ..., note: _Optional[str] = ..., diverged: _Optional[_Iterable[str]] = ..., record_epoch: _Optional[int] = ..., packs: _Optional[int] = ..., packing: bool = ...) -> None: ...

class FollowerStatus(_message.Message):
    __slots__ = ("member", "durable", "applied", "acked_seconds_ago", "in_sync")
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    ACKED_SECONDS_AGO_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    member: _records_pb2.Member
    durable: int
    applied: int
    acked_seconds_ago: float
    in_sync: bool
    def __init__(self, member: _Optional[_Union[_records_pb2.Member, _Mapping]] = ..., durable: _Optional[int] = ..., applied: _Optional[int] = ..., acked_seconds_ago: _Optional[float] = ..., in_sync: bool = ...) -> None: ...

class HandOverRequest(_message.Message):
    __slots__ = ("to",)
    TO_FIELD_NUMBER: _ClassVar[int]
    to: str
    def __init__(self, to: _Optional[str] = ...) -> None: ...

class HandOverAnswer(_message.Message):
    __slots__ = ("epoch", "primary")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    primary: str
    def __init__(self, epoch: _Optional[int] = ..., primary: _Optional[str] = ...) -> None: ...

class SetMinimumRequest(_message.Message):
    __slots__ = ("minimum", "epoch")
    MINIMUM_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    minimum: int
    epoch: int
    def __init__(self, minimum: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class RemoveRequest(_message.Message):
    __slots__ = ("node",)
    NODE_FIELD_NUMBER: _ClassVar[int]
    node: str
    def __init__(self, node: _Optional[str] = ...) -> None: ...

class ChangedAnswer(_message.Message):
    __slots__ = ("epoch", "min_in_sync", "in_sync")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    MIN_IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    min_in_sync: int
    in_sync: _containers.RepeatedCompositeFieldContainer[_records_pb2.Member]
    def __init__(self, epoch: _Optional[int] = ..., min_in_sync: _Optional[int] = ..., in_sync: _Optional[_Iterable[_Union[_records_pb2.Member, _Mapping]]] = ...) -> None: ...

class ForceRequest(_message.Message):
    __slots__ = ("epoch", "off")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    OFF_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    off: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, epoch: _Optional[int] = ..., off: _Optional[_Iterable[str]] = ...) -> None: ...

class ForceAnswer(_message.Message):
    __slots__ = ("epoch", "history", "fenced", "unfenced")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    FENCED_FIELD_NUMBER: _ClassVar[int]
    UNFENCED_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    history: str
    fenced: _containers.RepeatedScalarFieldContainer[str]
    unfenced: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, epoch: _Optional[int] = ..., history: _Optional[str] = ..., fenced: _Optional[_Iterable[str]] = ..., unfenced: _Optional[_Iterable[str]] = ...) -> None: ...

class FenceRequest(_message.Message):
    __slots__ = ("cluster", "epoch")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    epoch: int
    def __init__(self, cluster: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class FenceAnswer(_message.Message):
    __slots__ = ("reigns",)
    REIGNS_FIELD_NUMBER: _ClassVar[int]
    reigns: bool
    def __init__(self, reigns: bool = ...) -> None: ...

class DigestsRequest(_message.Message):
    __slots__ = ("through", "first_oid", "last_oid", "range_records", "transactions")
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    FIRST_OID_FIELD_NUMBER: _ClassVar[int]
    LAST_OID_FIELD_NUMBER: _ClassVar[int]
    RANGE_RECORDS_FIELD_NUMBER: _ClassVar[int]
    TRANSACTIONS_FIELD_NUMBER: _ClassVar[int]
    through: bytes
    first_oid: bytes
    last_oid: bytes
    range_records: int
    transactions: bool
    def __init__(self, through: _Optional[bytes] = ..., first_oid: _Optional[bytes] = ..., last_oid: _Optional[bytes] = ..., range_records: _Optional[int] = ..., transactions: bool = ...) -> None: ...

class RangeDigest(_message.Message):
    __slots__ = ("first", "last", "records", "digest")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    first: bytes
    last: bytes
    records: int
    digest: bytes
    def __init__(self, first: _Optional[bytes] = ..., last: _Optional[bytes] = ..., records: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class CheckFilesRequest(_message.Message):
    __slots__ = ("through",)
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    through: bytes
    def __init__(self, through: _Optional[bytes] = ...) -> None: ...

class FilesChecked(_message.Message):
    __slots__ = ("files", "bytes", "problems")
    FILES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    PROBLEMS_FIELD_NUMBER: _ClassVar[int]
    files: int
    bytes: int
    problems: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, files: _Optional[int] = ..., bytes: _Optional[int] = ..., problems: _Optional[_Iterable[str]] = ...) -> None: ...

class ResetRequest(_message.Message):
    __slots__ = ("generation",)
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    generation: int
    def __init__(self, generation: _Optional[int] = ...) -> None: ...

class ResetAnswer(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompactRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CompactProgress(_message.Message):
    __slots__ = ("before", "written", "after")
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    WRITTEN_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    before: int
    written: int
    after: int
    def __init__(self, before: _Optional[int] = ..., written: _Optional[int] = ..., after: _Optional[int] = ...) -> None: ...
