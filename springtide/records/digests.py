"""What entries are digested to: each digest covers the entry and all of the history before it.

Pure.
"""

from __future__ import annotations

import hashlib
import struct

from springtide.records.position import DIGEST_BYTES

#: A body in memory, or one that is too large for it: then it is a read-only view of a file that is mapped.
Body = bytes | memoryview

_CHAINED = struct.Struct(">QQB")
#: Larger bodies are digested in two steps: first all that follows the tid, which may be done while it arrives and
#: before the tid is given; then that digest, the tid and the place in the log, which takes no time.
WHOLE_BYTES_MAX = 2**20
REST_FROM = 8
_LARGE = b"large body"


def rest_hash() -> hashlib.blake2b:
    """Digests what follows the first ``REST_FROM`` bytes of a large body."""
    return hashlib.blake2b(digest_size=32)


def rest_digest(body: Body) -> bytes:
    digest = rest_hash()
    digest.update(memoryview(body)[REST_FROM:])
    return digest.digest()


def chain(previous: bytes, epoch: int, lsn: int, kind: int, body: Body, rest: bytes | None = None) -> bytes:
    """The digest of the history that ends with this entry. ``rest`` is the ``rest_digest`` of ``body``, if known."""
    if len(body) <= WHOLE_BYTES_MAX:
        digest = hashlib.blake2b(previous, digest_size=DIGEST_BYTES)
        digest.update(_CHAINED.pack(epoch, lsn, kind))
        digest.update(body)
        return digest.digest()
    digest = hashlib.blake2b(previous, digest_size=DIGEST_BYTES, person=_LARGE)
    digest.update(_CHAINED.pack(epoch, lsn, kind))
    digest.update(body[:REST_FROM])
    digest.update(rest if rest is not None else rest_digest(body))
    return digest.digest()
