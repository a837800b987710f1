"""What shim.c wrote down, read back: one value for each thing that a process did to a file."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_HEAD = struct.Struct("=cBHIQQ")  # op, flags, bytes of paths, bytes of data, inode, offset or size


@dataclass(frozen=True, slots=True)
class Step:
    """``op``: O opened to be made or emptied, W written, T cut or extended, S a file synced, D a directory synced,
    R renamed, L linked, U removed, M a directory made, X changed in a way that nobody can see.

    ``flag``: the file was emptied (O); the write is on the disk when it returns (W).
    """

    op: str
    path: str
    flag: bool = False
    second: str = ""
    inode: int = 0
    number: int = 0
    data: bytes = b""


def read_trace(file: Path) -> Iterator[Step]:
    """In the order in which they happened; a last step that was cut off by the end of the process did not happen."""
    if not file.exists():
        return
    with file.open("rb") as trace:
        while len(head := trace.read(_HEAD.size)) == _HEAD.size:
            op, flags, path_bytes, data_bytes, inode, number = _HEAD.unpack(head)
            names = trace.read(path_bytes)
            data = trace.read(data_bytes)
            if len(names) < path_bytes or len(data) < data_bytes:
                return
            path, _, second = names.decode().partition("\0")
            yield Step(op.decode(), path, bool(flags), second, inode, number, data)
