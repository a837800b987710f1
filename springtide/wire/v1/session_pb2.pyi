from springtide.wire.v1 import records_pb2 as _records_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class ClientMessage(_message.Message):
    __slots__ = ("request", "hello", "load", "load_serial", "prefetch", "new_oids", "stores", "vote", "finish", "abort", "ask_outcome", "info", "sync", "heads", "history", "undo_read", "records", "pack", "referred")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    HELLO_FIELD_NUMBER: _ClassVar[int]
    LOAD_FIELD_NUMBER: _ClassVar[int]
    LOAD_SERIAL_FIELD_NUMBER: _ClassVar[int]
    PREFETCH_FIELD_NUMBER: _ClassVar[int]
    NEW_OIDS_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    VOTE_FIELD_NUMBER: _ClassVar[int]
    FINISH_FIELD_NUMBER: _ClassVar[int]
    ABORT_FIELD_NUMBER: _ClassVar[int]
    ASK_OUTCOME_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    SYNC_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    UNDO_READ_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    PACK_FIELD_NUMBER: _ClassVar[int]
    REFERRED_FIELD_NUMBER: _ClassVar[int]
    request: int
    hello: SessionHello
    load: Load
    load_serial: LoadSerial
    prefetch: Prefetch
    new_oids: NewOids
    stores: Stores
    vote: Vote
    finish: Finish
    abort: Abort
    ask_outcome: AskOutcome
    info: Info
    sync: Sync
    heads: Heads
    history: History
    undo_read: UndoRead
    records: Records
    pack: Pack
    referred: Referred
    def __init__(self, request: _Optional[int] = ..., hello: _Optional[_Union[SessionHello, _Mapping]] = ..., load: _Optional[_Union[Load, _Mapping]] = ..., load_serial: _Optional[_Union[LoadSerial, _Mapping]] = ..., prefetch: _Optional[_Union[Prefetch, _Mapping]] = ..., new_oids: _Optional[_Union[NewOids, _Mapping]] = ..., stores: _Optional[_Union[Stores, _Mapping]] = ..., vote: _Optional[_Union[Vote, _Mapping]] = ..., finish: _Optional[_Union[Finish, _Mapping]] = ..., abort: _Optional[_Union[Abort, _Mapping]] = ..., ask_outcome: _Optional[_Union[AskOutcome, _Mapping]] = ..., info: _Optional[_Union[Info, _Mapping]] = ..., sync: _Optional[_Union[Sync, _Mapping]] = ..., heads: _Optional[_Union[Heads, _Mapping]] = ..., history: _Optional[_Union[History, _Mapping]] = ..., undo_read: _Optional[_Union[UndoRead, _Mapping]] = ..., records: _Optional[_Union[Records, _Mapping]] = ..., pack: _Optional[_Union[Pack, _Mapping]] = ..., referred: _Optional[_Union[Referred, _Mapping]] = ...) -> None: ...

class NodeMessage(_message.Message):
    __slots__ = ("request", "welcome", "loaded", "oids", "voted", "finished", "outcome", "info", "synced", "invalidation", "topology", "error", "done", "past", "undone", "invalidations", "purged", "pack_progress")
    REQUEST_FIELD_NUMBER: _ClassVar[int]
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    LOADED_FIELD_NUMBER: _ClassVar[int]
    OIDS_FIELD_NUMBER: _ClassVar[int]
    VOTED_FIELD_NUMBER: _ClassVar[int]
    FINISHED_FIELD_NUMBER: _ClassVar[int]
    OUTCOME_FIELD_NUMBER: _ClassVar[int]
    INFO_FIELD_NUMBER: _ClassVar[int]
    SYNCED_FIELD_NUMBER: _ClassVar[int]
    INVALIDATION_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    PAST_FIELD_NUMBER: _ClassVar[int]
    UNDONE_FIELD_NUMBER: _ClassVar[int]
    INVALIDATIONS_FIELD_NUMBER: _ClassVar[int]
    PURGED_FIELD_NUMBER: _ClassVar[int]
    PACK_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    request: int
    welcome: SessionWelcome
    loaded: Loaded
    oids: Oids
    voted: Voted
    finished: Finished
    outcome: Outcome
    info: InfoAnswer
    synced: Synced
    invalidation: Invalidation
    topology: _records_pb2.Topology
    error: _records_pb2.Error
    done: Done
    past: Past
    undone: Undone
    invalidations: Invalidations
    purged: Purged
    pack_progress: PackProgress
    def __init__(self, request: _Optional[int] = ..., welcome: _Optional[_Union[SessionWelcome, _Mapping]] = ..., loaded: _Optional[_Union[Loaded, _Mapping]] = ..., oids: _Optional[_Union[Oids, _Mapping]] = ..., voted: _Optional[_Union[Voted, _Mapping]] = ..., finished: _Optional[_Union[Finished, _Mapping]] = ..., outcome: _Optional[_Union[Outcome, _Mapping]] = ..., info: _Optional[_Union[InfoAnswer, _Mapping]] = ..., synced: _Optional[_Union[Synced, _Mapping]] = ..., invalidation: _Optional[_Union[Invalidation, _Mapping]] = ..., topology: _Optional[_Union[_records_pb2.Topology, _Mapping]] = ..., error: _Optional[_Union[_records_pb2.Error, _Mapping]] = ..., done: _Optional[_Union[Done, _Mapping]] = ..., past: _Optional[_Union[Past, _Mapping]] = ..., undone: _Optional[_Union[Undone, _Mapping]] = ..., invalidations: _Optional[_Union[Invalidations, _Mapping]] = ..., purged: _Optional[_Union[Purged, _Mapping]] = ..., pack_progress: _Optional[_Union[PackProgress, _Mapping]] = ...) -> None: ...

class SessionHello(_message.Message):
    __slots__ = ("wire_version", "client", "cluster", "last_tid", "invalidations", "packs")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLIENT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    LAST_TID_FIELD_NUMBER: _ClassVar[int]
    INVALIDATIONS_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    client: str
    cluster: str
    last_tid: bytes
    invalidations: bool
    packs: int
    def __init__(self, wire_version: _Optional[int] = ..., client: _Optional[str] = ..., cluster: _Optional[str] = ..., last_tid: _Optional[bytes] = ..., invalidations: bool = ..., packs: _Optional[int] = ...) -> None: ...

class SessionWelcome(_message.Message):
    __slots__ = ("wire_version", "cluster", "history", "node", "last_tid", "topology", "limits", "packs", "packed")
    WIRE_VERSION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    HISTORY_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    LAST_TID_FIELD_NUMBER: _ClassVar[int]
    TOPOLOGY_FIELD_NUMBER: _ClassVar[int]
    LIMITS_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    wire_version: int
    cluster: str
    history: str
    node: str
    last_tid: bytes
    topology: _records_pb2.Topology
    limits: Limits
    packs: int
    packed: bytes
    def __init__(self, wire_version: _Optional[int] = ..., cluster: _Optional[str] = ..., history: _Optional[str] = ..., node: _Optional[str] = ..., last_tid: _Optional[bytes] = ..., topology: _Optional[_Union[_records_pb2.Topology, _Mapping]] = ..., limits: _Optional[_Union[Limits, _Mapping]] = ..., packs: _Optional[int] = ..., packed: _Optional[bytes] = ...) -> None: ...

class Limits(_message.Message):
    __slots__ = ("record_bytes_max", "transaction_bytes_max", "message_bytes_max", "blob_bytes_max")
    RECORD_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    BLOB_BYTES_MAX_FIELD_NUMBER: _ClassVar[int]
    record_bytes_max: int
    transaction_bytes_max: int
    message_bytes_max: int
    blob_bytes_max: int
    def __init__(self, record_bytes_max: _Optional[int] = ..., transaction_bytes_max: _Optional[int] = ..., message_bytes_max: _Optional[int] = ..., blob_bytes_max: _Optional[int] = ...) -> None: ...

class Load(_message.Message):
    __slots__ = ("oid", "before", "floor", "have")
    OID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    HAVE_FIELD_NUMBER: _ClassVar[int]
    oid: bytes
    before: bytes
    floor: bytes
    have: bytes
    def __init__(self, oid: _Optional[bytes] = ..., before: _Optional[bytes] = ..., floor: _Optional[bytes] = ..., have: _Optional[bytes] = ...) -> None: ...

class LoadSerial(_message.Message):
    __slots__ = ("oid", "tid", "floor")
    OID_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    oid: bytes
    tid: bytes
    floor: bytes
    def __init__(self, oid: _Optional[bytes] = ..., tid: _Optional[bytes] = ..., floor: _Optional[bytes] = ...) -> None: ...

class Prefetch(_message.Message):
    __slots__ = ("oids", "before", "floor")
    OIDS_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    oids: _containers.RepeatedScalarFieldContainer[bytes]
    before: bytes
    floor: bytes
    def __init__(self, oids: _Optional[_Iterable[bytes]] = ..., before: _Optional[bytes] = ..., floor: _Optional[bytes] = ...) -> None: ...

class Loaded(_message.Message):
    __slots__ = ("oid", "result", "data", "tid", "next_tid", "as_of", "more", "blob", "unchanged", "packs")
    class Result(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RESULT_UNSPECIFIED: _ClassVar[Loaded.Result]
        RESULT_FOUND: _ClassVar[Loaded.Result]
        RESULT_NOT_YET: _ClassVar[Loaded.Result]
        RESULT_UNKNOWN: _ClassVar[Loaded.Result]
        RESULT_DELETED: _ClassVar[Loaded.Result]
    RESULT_UNSPECIFIED: Loaded.Result
    RESULT_FOUND: Loaded.Result
    RESULT_NOT_YET: Loaded.Result
    RESULT_UNKNOWN: Loaded.Result
    RESULT_DELETED: Loaded.Result
    OID_FIELD_NUMBER: _ClassVar[int]
    RESULT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    NEXT_TID_FIELD_NUMBER: _ClassVar[int]
    AS_OF_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    UNCHANGED_FIELD_NUMBER: _ClassVar[int]
    PACKS_FIELD_NUMBER: _ClassVar[int]
    oid: bytes
    result: Loaded.Result
    data: bytes
    tid: bytes
    next_tid: bytes
    as_of: bytes
    more: bool
    blob: Blob
    unchanged: bool
    packs: int
    def __init__(self, oid: _Optional[bytes] = ..., result: _Optional[_Union[Loaded.Result, str]] = ..., data: _Optional[bytes] = ..., tid: _Optional[bytes] = ..., next_tid: _Optional[bytes] = ..., as_of: _Optional[bytes] = ..., more: bool = ..., blob: _Optional[_Union[Blob, _Mapping]] = ..., unchanged: bool = ..., packs: _Optional[int] = ...) -> None: ...

class Heads(_message.Message):
    __slots__ = ("before", "count", "floor")
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    before: bytes
    count: int
    floor: bytes
    def __init__(self, before: _Optional[bytes] = ..., count: _Optional[int] = ..., floor: _Optional[bytes] = ...) -> None: ...

class History(_message.Message):
    __slots__ = ("oid", "before", "count", "floor")
    OID_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    oid: bytes
    before: bytes
    count: int
    floor: bytes
    def __init__(self, oid: _Optional[bytes] = ..., before: _Optional[bytes] = ..., count: _Optional[int] = ..., floor: _Optional[bytes] = ...) -> None: ...

class Past(_message.Message):
    __slots__ = ("tid", "status", "user", "description", "extension", "size", "absent", "packed")
    TID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    tid: bytes
    status: bytes
    user: bytes
    description: bytes
    extension: bytes
    size: int
    absent: bool
    packed: bool
    def __init__(self, tid: _Optional[bytes] = ..., status: _Optional[bytes] = ..., user: _Optional[bytes] = ..., description: _Optional[bytes] = ..., extension: _Optional[bytes] = ..., size: _Optional[int] = ..., absent: bool = ..., packed: bool = ...) -> None: ...

class UndoRead(_message.Message):
    __slots__ = ("tid", "floor", "first", "oids")
    TID_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    FIRST_FIELD_NUMBER: _ClassVar[int]
    OIDS_FIELD_NUMBER: _ClassVar[int]
    tid: bytes
    floor: bytes
    first: int
    oids: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, tid: _Optional[bytes] = ..., floor: _Optional[bytes] = ..., first: _Optional[int] = ..., oids: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Undone(_message.Message):
    __slots__ = ("oid", "current", "current_absent", "same", "undone_absent", "before", "before_absent", "data", "references", "refers", "blob", "more")
    OID_FIELD_NUMBER: _ClassVar[int]
    CURRENT_FIELD_NUMBER: _ClassVar[int]
    CURRENT_ABSENT_FIELD_NUMBER: _ClassVar[int]
    SAME_FIELD_NUMBER: _ClassVar[int]
    UNDONE_ABSENT_FIELD_NUMBER: _ClassVar[int]
    BEFORE_FIELD_NUMBER: _ClassVar[int]
    BEFORE_ABSENT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    REFERS_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    oid: bytes
    current: bytes
    current_absent: bool
    same: bool
    undone_absent: bool
    before: bytes
    before_absent: bool
    data: bytes
    references: bytes
    refers: bool
    blob: Blob
    more: bool
    def __init__(self, oid: _Optional[bytes] = ..., current: _Optional[bytes] = ..., current_absent: bool = ..., same: bool = ..., undone_absent: bool = ..., before: _Optional[bytes] = ..., before_absent: bool = ..., data: _Optional[bytes] = ..., references: _Optional[bytes] = ..., refers: bool = ..., blob: _Optional[_Union[Blob, _Mapping]] = ..., more: bool = ...) -> None: ...

class Records(_message.Message):
    __slots__ = ("start", "floor")
    START_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    start: bytes
    floor: bytes
    def __init__(self, start: _Optional[bytes] = ..., floor: _Optional[bytes] = ...) -> None: ...

class NewOids(_message.Message):
    __slots__ = ("count",)
    COUNT_FIELD_NUMBER: _ClassVar[int]
    count: int
    def __init__(self, count: _Optional[int] = ...) -> None: ...

class Oids(_message.Message):
    __slots__ = ("first", "count")
    FIRST_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    first: int
    count: int
    def __init__(self, first: _Optional[int] = ..., count: _Optional[int] = ...) -> None: ...

class Stores(_message.Message):
    __slots__ = ("transaction", "attempt", "writes")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    transaction: bytes
    attempt: int
    writes: _containers.RepeatedCompositeFieldContainer[Write]
    def __init__(self, transaction: _Optional[bytes] = ..., attempt: _Optional[int] = ..., writes: _Optional[_Iterable[_Union[Write, _Mapping]]] = ...) -> None: ...

class Write(_message.Message):
    __slots__ = ("oid", "serial", "kind", "data", "data_tid", "absent", "more", "references", "refers", "blob")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Write.Kind]
        KIND_STORE: _ClassVar[Write.Kind]
        KIND_CHECK: _ClassVar[Write.Kind]
        KIND_DELETE: _ClassVar[Write.Kind]
        KIND_RESTORE: _ClassVar[Write.Kind]
        KIND_UNDO: _ClassVar[Write.Kind]
    KIND_UNSPECIFIED: Write.Kind
    KIND_STORE: Write.Kind
    KIND_CHECK: Write.Kind
    KIND_DELETE: Write.Kind
    KIND_RESTORE: Write.Kind
    KIND_UNDO: Write.Kind
    OID_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DATA_TID_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    REFERENCES_FIELD_NUMBER: _ClassVar[int]
    REFERS_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    oid: bytes
    serial: bytes
    kind: Write.Kind
    data: bytes
    data_tid: bytes
    absent: bool
    more: bool
    references: bytes
    refers: bool
    blob: Blob
    def __init__(self, oid: _Optional[bytes] = ..., serial: _Optional[bytes] = ..., kind: _Optional[_Union[Write.Kind, str]] = ..., data: _Optional[bytes] = ..., data_tid: _Optional[bytes] = ..., absent: bool = ..., more: bool = ..., references: _Optional[bytes] = ..., refers: bool = ..., blob: _Optional[_Union[Blob, _Mapping]] = ...) -> None: ...

class Blob(_message.Message):
    __slots__ = ("id", "size", "digest")
    ID_FIELD_NUMBER: _ClassVar[int]
    SIZE_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    id: bytes
    size: int
    digest: bytes
    def __init__(self, id: _Optional[bytes] = ..., size: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Vote(_message.Message):
    __slots__ = ("transaction", "attempt", "user", "description", "extension", "tid", "status", "writes", "undoes", "stores")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    WRITES_FIELD_NUMBER: _ClassVar[int]
    UNDOES_FIELD_NUMBER: _ClassVar[int]
    STORES_FIELD_NUMBER: _ClassVar[int]
    transaction: bytes
    attempt: int
    user: bytes
    description: bytes
    extension: bytes
    tid: bytes
    status: bytes
    writes: int
    undoes: bytes
    stores: _containers.RepeatedCompositeFieldContainer[Write]
    def __init__(self, transaction: _Optional[bytes] = ..., attempt: _Optional[int] = ..., user: _Optional[bytes] = ..., description: _Optional[bytes] = ..., extension: _Optional[bytes] = ..., tid: _Optional[bytes] = ..., status: _Optional[bytes] = ..., writes: _Optional[int] = ..., undoes: _Optional[bytes] = ..., stores: _Optional[_Iterable[_Union[Write, _Mapping]]] = ...) -> None: ...

class Conflict(_message.Message):
    __slots__ = ("oid", "serial", "committed", "read_check", "data", "deleted")
    OID_FIELD_NUMBER: _ClassVar[int]
    SERIAL_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    READ_CHECK_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DELETED_FIELD_NUMBER: _ClassVar[int]
    oid: bytes
    serial: bytes
    committed: bytes
    read_check: bool
    data: bytes
    deleted: bool
    def __init__(self, oid: _Optional[bytes] = ..., serial: _Optional[bytes] = ..., committed: _Optional[bytes] = ..., read_check: bool = ..., data: _Optional[bytes] = ..., deleted: bool = ...) -> None: ...

class Voted(_message.Message):
    __slots__ = ("epoch", "conflicts", "missing_blobs")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CONFLICTS_FIELD_NUMBER: _ClassVar[int]
    MISSING_BLOBS_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    conflicts: _containers.RepeatedCompositeFieldContainer[Conflict]
    missing_blobs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, epoch: _Optional[int] = ..., conflicts: _Optional[_Iterable[_Union[Conflict, _Mapping]]] = ..., missing_blobs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Finish(_message.Message):
    __slots__ = ("transaction", "attempt", "epoch")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    transaction: bytes
    attempt: int
    epoch: int
    def __init__(self, transaction: _Optional[bytes] = ..., attempt: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class Finished(_message.Message):
    __slots__ = ("tid",)
    TID_FIELD_NUMBER: _ClassVar[int]
    tid: bytes
    def __init__(self, tid: _Optional[bytes] = ...) -> None: ...

class Abort(_message.Message):
    __slots__ = ("transaction", "attempt", "last")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    transaction: bytes
    attempt: int
    last: bool
    def __init__(self, transaction: _Optional[bytes] = ..., attempt: _Optional[int] = ..., last: bool = ...) -> None: ...

class AskOutcome(_message.Message):
    __slots__ = ("transaction", "attempt", "epoch")
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    transaction: bytes
    attempt: int
    epoch: int
    def __init__(self, transaction: _Optional[bytes] = ..., attempt: _Optional[int] = ..., epoch: _Optional[int] = ...) -> None: ...

class Outcome(_message.Message):
    __slots__ = ("result", "tid")
    class Result(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RESULT_UNSPECIFIED: _ClassVar[Outcome.Result]
        RESULT_COMMITTED: _ClassVar[Outcome.Result]
        RESULT_NEVER: _ClassVar[Outcome.Result]
        RESULT_FORGOTTEN: _ClassVar[Outcome.Result]
    RESULT_UNSPECIFIED: Outcome.Result
    RESULT_COMMITTED: Outcome.Result
    RESULT_NEVER: Outcome.Result
    RESULT_FORGOTTEN: Outcome.Result
    RESULT_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    result: Outcome.Result
    tid: bytes
    def __init__(self, result: _Optional[_Union[Outcome.Result, str]] = ..., tid: _Optional[bytes] = ...) -> None: ...

class Info(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class InfoAnswer(_message.Message):
    __slots__ = ("objects", "bytes", "last_tid")
    OBJECTS_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    LAST_TID_FIELD_NUMBER: _ClassVar[int]
    objects: int
    bytes: int
    last_tid: bytes
    def __init__(self, objects: _Optional[int] = ..., bytes: _Optional[int] = ..., last_tid: _Optional[bytes] = ...) -> None: ...

class Sync(_message.Message):
    __slots__ = ("strict",)
    STRICT_FIELD_NUMBER: _ClassVar[int]
    strict: bool
    def __init__(self, strict: bool = ...) -> None: ...

class Synced(_message.Message):
    __slots__ = ("last_tid",)
    LAST_TID_FIELD_NUMBER: _ClassVar[int]
    last_tid: bytes
    def __init__(self, last_tid: _Optional[bytes] = ...) -> None: ...

class Invalidation(_message.Message):
    __slots__ = ("tid", "oids", "more")
    TID_FIELD_NUMBER: _ClassVar[int]
    OIDS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    tid: bytes
    oids: _containers.RepeatedScalarFieldContainer[bytes]
    more: bool
    def __init__(self, tid: _Optional[bytes] = ..., oids: _Optional[_Iterable[bytes]] = ..., more: bool = ...) -> None: ...

class Done(_message.Message):
    __slots__ = ("next",)
    NEXT_FIELD_NUMBER: _ClassVar[int]
    next: bytes
    def __init__(self, next: _Optional[bytes] = ...) -> None: ...

class Invalidations(_message.Message):
    __slots__ = ("each",)
    EACH_FIELD_NUMBER: _ClassVar[int]
    each: _containers.RepeatedCompositeFieldContainer[Invalidation]
    def __init__(self, each: _Optional[_Iterable[_Union[Invalidation, _Mapping]]] = ...) -> None: ...

class Purged(_message.Message):
    __slots__ = ("packs", "oids", "more", "superseded")
    PACKS_FIELD_NUMBER: _ClassVar[int]
    OIDS_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    SUPERSEDED_FIELD_NUMBER: _ClassVar[int]
    packs: int
    oids: _containers.RepeatedScalarFieldContainer[bytes]
    more: bool
    superseded: bytes
    def __init__(self, packs: _Optional[int] = ..., oids: _Optional[_Iterable[bytes]] = ..., more: bool = ..., superseded: _Optional[bytes] = ...) -> None: ...

class Pack(_message.Message):
    __slots__ = ("tid", "gc", "keep_revisions")
    TID_FIELD_NUMBER: _ClassVar[int]
    GC_FIELD_NUMBER: _ClassVar[int]
    KEEP_REVISIONS_FIELD_NUMBER: _ClassVar[int]
    tid: bytes
    gc: bool
    keep_revisions: int
    def __init__(self, tid: _Optional[bytes] = ..., gc: bool = ..., keep_revisions: _Optional[int] = ...) -> None: ...

class PackProgress(_message.Message):
    __slots__ = ("doing", "done", "total", "records", "packed")
    DOING_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    PACKED_FIELD_NUMBER: _ClassVar[int]
    doing: str
    done: int
    total: int
    records: _containers.RepeatedScalarFieldContainer[bytes]
    packed: bytes
    def __init__(self, doing: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., records: _Optional[_Iterable[bytes]] = ..., packed: _Optional[bytes] = ...) -> None: ...

class Referred(_message.Message):
    __slots__ = ("pack", "records")
    PACK_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    pack: int
    records: _containers.RepeatedCompositeFieldContainer[References]
    def __init__(self, pack: _Optional[int] = ..., records: _Optional[_Iterable[_Union[References, _Mapping]]] = ...) -> None: ...

class References(_message.Message):
    __slots__ = ("oids", "failure")
    OIDS_FIELD_NUMBER: _ClassVar[int]
    FAILURE_FIELD_NUMBER: _ClassVar[int]
    oids: bytes
    failure: str
    def __init__(self, oids: _Optional[bytes] = ..., failure: _Optional[str] = ...) -> None: ...

class IterateRequest(_message.Message):
    __slots__ = ("start", "stop", "floor", "cluster", "heads_only")
    START_FIELD_NUMBER: _ClassVar[int]
    STOP_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    HEADS_ONLY_FIELD_NUMBER: _ClassVar[int]
    start: bytes
    stop: bytes
    floor: bytes
    cluster: str
    heads_only: bool
    def __init__(self, start: _Optional[bytes] = ..., stop: _Optional[bytes] = ..., floor: _Optional[bytes] = ..., cluster: _Optional[str] = ..., heads_only: bool = ...) -> None: ...

class IterateAnswer(_message.Message):
    __slots__ = ("head", "record")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    head: IteratedHead
    record: IteratedRecord
    def __init__(self, head: _Optional[_Union[IteratedHead, _Mapping]] = ..., record: _Optional[_Union[IteratedRecord, _Mapping]] = ...) -> None: ...

class IteratedHead(_message.Message):
    __slots__ = ("tid", "status", "user", "description", "extension")
    TID_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    USER_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    EXTENSION_FIELD_NUMBER: _ClassVar[int]
    tid: bytes
    status: bytes
    user: bytes
    description: bytes
    extension: bytes
    def __init__(self, tid: _Optional[bytes] = ..., status: _Optional[bytes] = ..., user: _Optional[bytes] = ..., description: _Optional[bytes] = ..., extension: _Optional[bytes] = ...) -> None: ...

class IteratedRecord(_message.Message):
    __slots__ = ("oid", "data", "data_tid", "absent", "more", "blob")
    OID_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    DATA_TID_FIELD_NUMBER: _ClassVar[int]
    ABSENT_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    oid: bytes
    data: bytes
    data_tid: bytes
    absent: bool
    more: bool
    blob: Blob
    def __init__(self, oid: _Optional[bytes] = ..., data: _Optional[bytes] = ..., data_tid: _Optional[bytes] = ..., absent: bool = ..., more: bool = ..., blob: _Optional[_Union[Blob, _Mapping]] = ...) -> None: ...

class BlobPart(_message.Message):
    __slots__ = ("head", "data")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    head: BlobHead
    data: bytes
    def __init__(self, head: _Optional[_Union[BlobHead, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class BlobHead(_message.Message):
    __slots__ = ("cluster", "transaction", "blob", "offset")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    TRANSACTION_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    transaction: bytes
    blob: Blob
    offset: int
    def __init__(self, cluster: _Optional[str] = ..., transaction: _Optional[bytes] = ..., blob: _Optional[_Union[Blob, _Mapping]] = ..., offset: _Optional[int] = ...) -> None: ...

class BlobStored(_message.Message):
    __slots__ = ("held", "error")
    HELD_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    held: int
    error: _records_pb2.Error
    def __init__(self, held: _Optional[int] = ..., error: _Optional[_Union[_records_pb2.Error, _Mapping]] = ...) -> None: ...

class FetchBlobRequest(_message.Message):
    __slots__ = ("cluster", "oid", "tid", "floor", "offset")
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    OID_FIELD_NUMBER: _ClassVar[int]
    TID_FIELD_NUMBER: _ClassVar[int]
    FLOOR_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    cluster: str
    oid: bytes
    tid: bytes
    floor: bytes
    offset: int
    def __init__(self, cluster: _Optional[str] = ..., oid: _Optional[bytes] = ..., tid: _Optional[bytes] = ..., floor: _Optional[bytes] = ..., offset: _Optional[int] = ...) -> None: ...

class BlobChunk(_message.Message):
    __slots__ = ("head", "data", "error", "none")
    HEAD_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    ERROR_FIELD_NUMBER: _ClassVar[int]
    NONE_FIELD_NUMBER: _ClassVar[int]
    head: Blob
    data: bytes
    error: _records_pb2.Error
    none: bool
    def __init__(self, head: _Optional[_Union[Blob, _Mapping]] = ..., data: _Optional[bytes] = ..., error: _Optional[_Union[_records_pb2.Error, _Mapping]] = ..., none: bool = ...) -> None: ...
