"""Files are written anew and read; their content is made from the name of the attempt, and noted by its digest."""

from __future__ import annotations

import hashlib
from random import Random
from typing import Any

from persistent.mapping import PersistentMapping
from ZODB.blob import Blob

from springtide.records.ids import number
from springtide.testing.recording.session import Session

_FILES = 6
_BYTES_MAX = 200_000


class Blobs:
    """Needs a storage with a place for blobs."""

    def __init__(self, number: int, chance: Random) -> None:
        self._chance = chance

    @classmethod
    def set_up(cls, root: Any) -> None:
        root["files"] = PersistentMapping({str(number): Blob() for number in range(_FILES)})

    def attempt(self, session: Session) -> dict[str, Any]:
        work: dict[str, Any] = {"kind": "blob", "wrote": [], "read": []}
        for name in self._chance.sample(range(_FILES), 2):
            blob = session.read(session.root["files"][str(name)])
            if not work["wrote"] and self._chance.random() < 0.6:
                content = self._chance.randbytes(self._chance.randint(0, _BYTES_MAX))
                with blob.open("w") as file:
                    file.write(content)
                work["wrote"].append((number(blob._p_oid), _digest(content)))
            elif has_file(blob):
                work["read"].append(reading(blob))
        return work


def has_file(blob: Blob) -> bool:
    """Whether it was ever written: as it was set up it has none."""
    return bool(blob._p_blob_committed or blob._p_blob_uncommitted)


def reading(blob: Blob) -> tuple[int, int, str]:
    """Oid, revision and digest of the file."""
    with blob.open("r") as file:
        return number(blob._p_oid), number(blob._p_serial), _digest(file.read())


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
