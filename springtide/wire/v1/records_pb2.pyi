from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_TRANSACTION: _ClassVar[Kind]
    KIND_OIDS: _ClassVar[Kind]
    KIND_EPOCH: _ClassVar[Kind]
    KIND_PACK: _ClassVar[Kind]
    KIND_FORGET: _ClassVar[Kind]

class Code(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    CODE_UNSPECIFIED: _ClassVar[Code]
    CODE_NOT_PRIMARY: _ClassVar[Code]
    CODE_NOT_CAUGHT_UP: _ClassVar[Code]
    CODE_BELOW_MINIMUM: _ClassVar[Code]
    CODE_VOTE_TIMED_OUT: _ClassVar[Code]
    CODE_STOPPING: _ClassVar[Code]
    CODE_TOO_LARGE: _ClassVar[Code]
    CODE_BAD_REQUEST: _ClassVar[Code]
    CODE_WRONG_CLUSTER: _ClassVar[Code]
    CODE_WRONG_VERSION: _ClassVar[Code]
    CODE_NO_SPACE: _ClassVar[Code]
    CODE_DAMAGED: _ClassVar[Code]
    CODE_OUTCOME_UNKNOWN: _ClassVar[Code]
    CODE_UNREACHABLE: _ClassVar[Code]
    CODE_INTERNAL: _ClassVar[Code]
    CODE_BLOB_MISSING: _ClassVar[Code]
    CODE_PACKED: _ClassVar[Code]
    CODE_PACK_REFUSED: _ClassVar[Code]
    CODE_COLLECTED: _ClassVar[Code]
KIND_UNSPECIFIED: Kind
KIND_TRANSACTION: Kind
KIND_OIDS: Kind
KIND_EPOCH: Kind
KIND_PACK: Kind
KIND_FORGET: Kind
CODE_UNSPECIFIED: Code
CODE_NOT_PRIMARY: Code
CODE_NOT_CAUGHT_UP: Code
CODE_BELOW_MINIMUM: Code
CODE_VOTE_TIMED_OUT: Code
CODE_STOPPING: Code
CODE_TOO_LARGE: Code
CODE_BAD_REQUEST: Code
CODE_WRONG_CLUSTER: Code
CODE_WRONG_VERSION: Code
CODE_NO_SPACE: Code
CODE_DAMAGED: Code
CODE_OUTCOME_UNKNOWN: Code
CODE_UNREACHABLE: Code
CODE_INTERNAL: Code
CODE_BLOB_MISSING: Code
CODE_PACKED: Code
CODE_PACK_REFUSED: Code
CODE_COLLECTED: Code

class Point(_message.Message):
    __slots__ = ("epoch", "lsn", "digest")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LSN_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    lsn: int
    digest: bytes
    def __init__(self, epoch: _Optional[int] = ..., lsn: _Optional[int] = ..., digest: _Optional[bytes] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("epoch", "lsn", "kind", "digest", "body", "more", "ahead")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    LSN_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    DIGEST_FIELD_NUMBER: _ClassVar[int]
    BODY_FIELD_NUMBER: _ClassVar[int]
    MORE_FIELD_NUMBER: _ClassVar[int]
    AHEAD_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    lsn: int
    kind: Kind
    digest: bytes
    body: bytes
    more: bool
    ahead: bytes
    def __init__(self, epoch: _Optional[int] = ..., lsn: _Optional[int] = ..., kind: _Optional[_Union[Kind, str]] = ..., digest: _Optional[bytes] = ..., body: _Optional[bytes] = ..., more: bool = ..., ahead: _Optional[bytes] = ...) -> None: ...

class Member(_message.Message):
    __slots__ = ("node", "incarnation")
    NODE_FIELD_NUMBER: _ClassVar[int]
    INCARNATION_FIELD_NUMBER: _ClassVar[int]
    node: str
    incarnation: str
    def __init__(self, node: _Optional[str] = ..., incarnation: _Optional[str] = ...) -> None: ...

class Node(_message.Message):
    __slots__ = ("id", "address", "primary", "in_sync")
    ID_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    IN_SYNC_FIELD_NUMBER: _ClassVar[int]
    id: str
    address: str
    primary: bool
    in_sync: bool
    def __init__(self, id: _Optional[str] = ..., address: _Optional[str] = ..., primary: bool = ..., in_sync: bool = ...) -> None: ...

class Topology(_message.Message):
    __slots__ = ("epoch", "primary", "nodes", "stale")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    STALE_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    primary: str
    nodes: _containers.RepeatedCompositeFieldContainer[Node]
    stale: bool
    def __init__(self, epoch: _Optional[int] = ..., primary: _Optional[str] = ..., nodes: _Optional[_Iterable[_Union[Node, _Mapping]]] = ..., stale: bool = ...) -> None: ...

class Error(_message.Message):
    __slots__ = ("code", "message", "primary")
    CODE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    PRIMARY_FIELD_NUMBER: _ClassVar[int]
    code: Code
    message: str
    primary: str
    def __init__(self, code: _Optional[_Union[Code, str]] = ..., message: _Optional[str] = ..., primary: _Optional[str] = ...) -> None: ...
