from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class CoordinatorReadRequest(_message.Message):
    __slots__ = ("prefix",)
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    def __init__(self, prefix: _Optional[str] = ...) -> None: ...

class CoordinatorView(_message.Message):
    __slots__ = ("revision", "record", "announcements", "starts")
    class AnnouncementsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: bytes
        def __init__(self, key: _Optional[str] = ..., value: _Optional[bytes] = ...) -> None: ...
    class StartsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    REVISION_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCEMENTS_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    record: bytes
    announcements: _containers.ScalarMap[str, bytes]
    starts: _containers.ScalarMap[str, int]
    def __init__(self, revision: _Optional[int] = ..., record: _Optional[bytes] = ..., announcements: _Optional[_Mapping[str, bytes]] = ..., starts: _Optional[_Mapping[str, int]] = ...) -> None: ...

class CoordinatorSwapRequest(_message.Message):
    __slots__ = ("prefix", "expected_revision", "record")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_REVISION_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    expected_revision: int
    record: bytes
    def __init__(self, prefix: _Optional[str] = ..., expected_revision: _Optional[int] = ..., record: _Optional[bytes] = ...) -> None: ...

class CoordinatorSwapAnswer(_message.Message):
    __slots__ = ("swapped", "view")
    SWAPPED_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    swapped: bool
    view: CoordinatorView
    def __init__(self, swapped: bool = ..., view: _Optional[_Union[CoordinatorView, _Mapping]] = ...) -> None: ...

class CoordinatorAnnounceRequest(_message.Message):
    __slots__ = ("prefix", "node", "announcement", "ttl_seconds")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    ANNOUNCEMENT_FIELD_NUMBER: _ClassVar[int]
    TTL_SECONDS_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    node: str
    announcement: bytes
    ttl_seconds: float
    def __init__(self, prefix: _Optional[str] = ..., node: _Optional[str] = ..., announcement: _Optional[bytes] = ..., ttl_seconds: _Optional[float] = ...) -> None: ...

class CoordinatorAnnounceAnswer(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CoordinatorWithdrawRequest(_message.Message):
    __slots__ = ("prefix", "node", "uptime")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    UPTIME_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    node: str
    uptime: str
    def __init__(self, prefix: _Optional[str] = ..., node: _Optional[str] = ..., uptime: _Optional[str] = ...) -> None: ...

class CoordinatorWithdrawAnswer(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CoordinatorRaiseStartsRequest(_message.Message):
    __slots__ = ("prefix", "node", "starts")
    PREFIX_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    STARTS_FIELD_NUMBER: _ClassVar[int]
    prefix: str
    node: str
    starts: int
    def __init__(self, prefix: _Optional[str] = ..., node: _Optional[str] = ..., starts: _Optional[int] = ...) -> None: ...

class CoordinatorRaiseStartsAnswer(_message.Message):
    __slots__ = ("starts",)
    STARTS_FIELD_NUMBER: _ClassVar[int]
    starts: int
    def __init__(self, starts: _Optional[int] = ...) -> None: ...
