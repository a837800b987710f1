"""Small files that say in JSON what must not be misread: with a checksum of all the rest.

Pure.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from typing import Any

CHECKSUM = "checksum"


def seal(fields: Mapping[str, Any]) -> bytes:
    """The bytes of a file that says ``fields``."""
    return json.dumps({**fields, CHECKSUM: _checksum(fields)}, indent=1).encode()


def unseal(data: bytes) -> dict[str, Any]:
    """What ``seal`` was given. Raises ValueError for anything else."""
    fields = json.loads(data)
    if not isinstance(fields, dict):
        raise ValueError("it has no fields")
    if fields.pop(CHECKSUM, None) != _checksum(fields):
        raise ValueError("its checksum is missing or another one")
    return fields


def _checksum(fields: Mapping[str, Any]) -> str:
    return f"{zlib.crc32(json.dumps(fields, sort_keys=True).encode()):08x}"
