from springtide.wire.v1 import records_pb2 as _records_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FollowerMessage(_message.Message):
    __slots__ = ("hello", "probe", "copy", "ack", "confirm", "held")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    PROBE_FIELD_NUMBER: _ClassVar[int]
    COPY_FIELD_NUMBER: _ClassVar[int]
    ACK_FIELD_NUMBER: _ClassVar[int]
    CONFIRM_FIELD_NUMBER: _ClassVar[int]
    HELD_FIELD_NUMBER: _ClassVar[int]
    hello: FeedHello
    probe: FeedProbe
    copy: FeedCopy
    ack: FeedAck
    confirm: FeedConfirm
    held: FeedHeld
    def __init__(self, hello: _Optional[_Union[FeedHello, _Mapping]] = ..., probe: _Optional[_Union[FeedProbe, _Mapping]] = ..., copy: _Optional[_Union[FeedCopy, _Mapping]] = ..., ack: _Optional[_Union[FeedAck, _Mapping]] = ..., confirm: _Optional[_Union[FeedConfirm, _Mapping]] = ..., held: _Optional[_Union[FeedHeld, _Mapping]] = ...) -> None: ...

class FeedHello(_message.Message):
    __slots__ = ("wire_version", "member", "uptime", "cluster", "promised", "last", "electable", "wall")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    MEMBER_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    PROMISED_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    ELECTABLE_FIELD_NUMBER: _ClassVar[int]
    WALL_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    member: _records_pb2.Member
    uptime: str
    cluster: str
    promised: int
    last: _records_pb2.Point
    electable: bool
    wall: float
    def __init__(self, wire_version: _Optional[int] = ..., member: _Optional[_Union[_records_pb2.Member, _Mapping]] = ..., uptime: _Optional[str] = ..., cluster: _Optional[str] = ..., promised: _Optional[int] = ..., last: _Optional[_Union[_records_pb2.Point, _Mapping]] = ..., electable: bool = ..., wall: _Optional[float] = ...) -> None: ...

class FeedProbe(_message.Message):
    __slots__ = ("at",)
    AT_FIELD_NUMBER: _ClassVar[int]
    at: _records_pb2.Point
    def __init__(self, at: _Optional[_Union[_records_pb2.Point, _Mapping]] = ...) -> None: ...

class FeedCopy(_message.Message):
    __slots__ = ("after",)
    AFTER_FIELD_NUMBER: _ClassVar[int]
    after: _records_pb2.Point
    def __init__(self, after: _Optional[_Union[_records_pb2.Point, _Mapping]] = ...) -> None: ...

class FeedAck(_message.Message):
    __slots__ = ("durable", "applied", "headroom_bytes", "reads")
    DURABLE_FIELD_NUMBER: _ClassVar[int]
    APPLIED_FIELD_NUMBER: _ClassVar[int]
    HEADROOM_BYTES_FIELD_NUMBER: _ClassVar[int]
    READS_FIELD_NUMBER: _ClassVar[int]
    durable: int
    applied: int
    headroom_bytes: int
    reads: bool
    def __init__(self, durable: _Optional[int] = ..., applied: _Optional[int] = ..., headroom_bytes: _Optional[int] = ..., reads: bool = ...) -> None: ...

class FeedConfirm(_message.Message):
    __slots__ = ("round", "wall")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    WALL_FIELD_NUMBER: _ClassVar[int]
    round: int
    wall: float
    def __init__(self, round: _Optional[int] = ..., wall: _Optional[float] = ...) -> None: ...

class PrimaryMessage(_message.Message):
    __slots__ = ("welcome", "refused", "found", "missing", "too_old", "append", "heartbeat", "blobs", "body_part", "bodies_gone")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    FOUND_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    TOO_OLD_FIELD_NUMBER: _ClassVar[int]
    APPEND_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    BLOBS_FIELD_NUMBER: _ClassVar[int]
    BODY_PART_FIELD_NUMBER: _ClassVar[int]
    BODIES_GONE_FIELD_NUMBER: _ClassVar[int]
    welcome: FeedWelcome
    refused: FeedRefused
    found: FeedFound
    missing: FeedMissing
    too_old: FeedTooOld
    append: FeedAppend
    heartbeat: FeedHeartbeat
    blobs: FeedBlobs
    body_part: FeedBodyPart
    bodies_gone: FeedBodiesGone
    def __init__(self, welcome: _Optional[_Union[FeedWelcome, _Mapping]] = ..., refused: _Optional[_Union[FeedRefused, _Mapping]] = ..., found: _Optional[_Union[FeedFound, _Mapping]] = ..., missing: _Optional[_Union[FeedMissing, _Mapping]] = ..., too_old: _Optional[_Union[FeedTooOld, _Mapping]] = ..., append: _Optional[_Union[FeedAppend, _Mapping]] = ..., heartbeat: _Optional[_Union[FeedHeartbeat, _Mapping]] = ..., blobs: _Optional[_Union[FeedBlobs, _Mapping]] = ..., body_part: _Optional[_Union[FeedBodyPart, _Mapping]] = ..., bodies_gone: _Optional[_Union[FeedBodiesGone, _Mapping]] = ...) -> None: ...

class FeedWelcome(_message.Message):
    __slots__ = ("epoch", "primary", "uptime", "history", "last", "oldest")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    primary: str
    uptime: str
    history: str
    last: _records_pb2.Point
    oldest: _records_pb2.Point
    def __init__(self, epoch: _Optional[int] = ..., primary: _Optional[str] = ..., uptime: _Optional[str] = ..., history: _Optional[str] = ..., last: _Optional[_Union[_records_pb2.Point, _Mapping]] = ..., oldest: _Optional[_Union[_records_pb2.Point, _Mapping]] = ...) -> None: ...

class FeedRefused(_message.Message):
    __slots__ = ("reason", "epoch")
    REASON_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    reason: str
    epoch: int
    def __init__(self, reason: _Optional[str] = ..., epoch: _Optional[int] = ...) -> None: ...

class FeedFound(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FeedMissing(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class FeedTooOld(_message.Message):
    __slots__ = ("oldest",)
    OLDEST_FIELD_NUMBER: _ClassVar[int]
    oldest: _records_pb2.Point
    def __init__(self, oldest: _Optional[_Union[_records_pb2.Point, _Mapping]] = ...) -> None: ...

class FeedAppend(_message.Message):
    __slots__ = ("entries", "commit")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[_records_pb2.Entry]
    commit: int
    def __init__(self, entries: _Optional[_Iterable[_Union[_records_pb2.Entry, _Mapping]]] = ..., commit: _Optional[int] = ...) -> None: ...

class FeedHeartbeat(_message.Message):
    __slots__ = ("round", "commit", "age")
    ROUND_FIELD_NUMBER: _ClassVar[int]
    COMMIT_FIELD_NUMBER: _ClassVar[int]
    AGE_FIELD_NUMBER: _ClassVar[int]
    round: int
    commit: int
    age: float
    def __init__(self, round: _Optional[int] = ..., commit: _Optional[int] = ..., age: _Optional[float] = ...) -> None: ...

class FeedBlobs(_message.Message):
    __slots__ = ("names",)
    NAMES_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedCompositeFieldContainer[BlobName]
    def __init__(self, names: _Optional[_Iterable[_Union[BlobName, _Mapping]]] = ...) -> None: ...

class FeedBodyPart(_message.Message):
    __slots__ = ("id", "data", "last")
    ID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    data: bytes
    last: bool
    def __init__(self, id: _Optional[bytes] = ..., data: _Optional[bytes] = ..., last: bool = ...) -> None: ...

class FeedBodiesGone(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class FeedHeld(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, ids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class BlobName(_message.Message):
    __slots__ = ("id", "size", "digest", "oid", "tid", "data_tid")
    ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    OID_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    DATA_TID_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    size: int
    digest: bytes
    oid: bytes
    tid: bytes
    data_tid: bytes
    def __init__(self, id: _Optional[bytes] = ..., size: _Optional[int] = ..., digest: _Optional[bytes] = ..., oid: _Optional[bytes] = ..., tid: _Optional[bytes] = ..., data_tid: _Optional[bytes] = ...) -> None: ...

class BlobRequest(_message.Message):
    __slots__ = ("cluster", "name", "offset")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    name: BlobName
    offset: int
    def __init__(self, cluster: _Optional[str] = ..., name: _Optional[_Union[BlobName, _Mapping]] = ..., offset: _Optional[int] = ...) -> None: ...

class BlobData(_message.Message):
    __slots__ = ("data", "error", "gone")
    DATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    GONE_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    error: _records_pb2.Error
    gone: bool
    def __init__(self, data: _Optional[bytes] = ..., error: _Optional[_Union[_records_pb2.Error, _Mapping]] = ..., gone: bool = ...) -> None: ...

class SnapshotRequest(_message.Message):
    __slots__ = ("cluster", "base", "table", "after")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    BASE_FIELD_NUMBER: _ClassVar[int]
    TABLE_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    base: _records_pb2.Point
    table: str
    after: bytes
    def __init__(self, cluster: _Optional[str] = ..., base: _Optional[_Union[_records_pb2.Point, _Mapping]] = ..., table: _Optional[str] = ..., after: _Optional[bytes] = ...) -> None: ...

class SnapshotChunk(_message.Message):
    __slots__ = ("begin", "rows", "end")
    BEGIN_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    begin: SnapshotBegin
    rows: SnapshotRows
    end: SnapshotEnd
    def __init__(self, begin: _Optional[_Union[SnapshotBegin, _Mapping]] = ..., rows: _Optional[_Union[SnapshotRows, _Mapping]] = ..., end: _Optional[_Union[SnapshotEnd, _Mapping]] = ...) -> None: ...

class SnapshotBegin(_message.Message):
    __slots__ = ("base", "format", "objects")
    BASE_FIELD_NUMBER: _ClassVar[int]
    FORMAT_FIELD_NUMBER: _ClassVar[int]
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    base: _records_pb2.Point
    format: int
    objects: int
    def __init__(self, base: _Optional[_Union[_records_pb2.Point, _Mapping]] = ..., format: _Optional[int] = ..., objects: _Optional[int] = ...) -> None: ...

class SnapshotRows(_message.Message):
    __slots__ = ("table", "rows")
    TABLE_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    table: str
    rows: _containers.RepeatedCompositeFieldContainer[Row]
    def __init__(self, table: _Optional[str] = ..., rows: _Optional[_Iterable[_Union[Row, _Mapping]]] = ...) -> None: ...

class Row(_message.Message):
    __slots__ = ("key", "value", "more")
    KEY_FIELD_NUMBER: _ClassVar[int]
    VALUE_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    key: bytes
    value: bytes
    more: bool
    def __init__(self, key: _Optional[bytes] = ..., value: _Optional[bytes] = ..., more: bool = ...) -> None: ...

class SnapshotEnd(_message.Message):
    __slots__ = ("complete_at",)
    COMPLETE_AT_FIELD_NUMBER: _ClassVar[int]
    complete_at: int
    def __init__(self, complete_at: _Optional[int] = ...) -> None: ...
