"""What does a record refer to?

Found with ZODB's own scan, which makes no object of the application. Where the application's storage wrapper
transforms records, the client has said the references; records of zc.zlibstorage are unpacked here.
"""

from __future__ import annotations

import zlib

from ZODB.serialize import referencesf

from springtide.records.entries import Write
from springtide.records.ids import Oid

#: How zc.zlibstorage begins a record that it has compressed.
_COMPRESSED = b".z"


class Unreadable(Exception):
    """What the record refers to cannot be known here."""


def references_of(write: Write) -> list[Oid]:
    """The oids that a record refers to. Raises ``Unreadable``."""
    if write.references is not None:
        return [Oid(write.references[at : at + 8]) for at in range(0, len(write.references), 8)]
    if write.data is None:
        return []
    return scan(bytes(write.data))


def plain(data: bytes) -> bytes:
    """The pickle in a record. Raises zlib.error."""
    return zlib.decompress(data[len(_COMPRESSED) :]) if data.startswith(_COMPRESSED) else data


def scan(data: bytes) -> list[Oid]:
    try:
        found = [Oid(name) for name in referencesf(plain(data))]
    except Exception as error:  # a scan of any bytes at all can fail in any way
        raise Unreadable(f"{type(error).__name__}: {error}") from error
    if any(len(name) != 8 for name in found):
        raise Unreadable("it names oids that do not have 8 bytes")
    return found
