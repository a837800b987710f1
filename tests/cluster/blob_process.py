"""A client in a process of its own, which says how much memory a large blob takes.

    python blob_process.py ADDRESSES BLOB-DIR write BYTES
    python blob_process.py ADDRESSES BLOB-DIR read TID

Prints one line of JSON: the tid, the digest of what was written or read, and by how many bytes the
memory of this process grew at most, above what it had after a small blob.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

from ZODB.Connection import TransactionMetaData
from ZODB.utils import p64, z64

import springtide

SMALL, LARGE = p64(1), p64(2)
CHUNK = 2**20


def peak_reset(pid: int) -> int:
    """Forget the highest memory that the process has had; what it has now, in bytes."""
    Path(f"/proc/{pid}/clear_refs").write_text("5")
    return _status(pid, "VmRSS")


def peak(pid: int) -> int:
    """The highest memory since then, in bytes."""
    return _status(pid, "VmHWM")


def _status(pid: int, field: str) -> int:
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise LookupError(field)


def write(storage: Any, oid: bytes, size: int) -> tuple[bytes, str]:
    name = os.path.join(storage.temporaryDirectory(), "written")
    digest = hashlib.sha256()
    with open(name, "wb") as file:
        for at in range(0, size, CHUNK):
            data = hashlib.sha256(at.to_bytes(8, "big")).digest() * (CHUNK // 32)
            data = data[: size - at]
            digest.update(data)
            file.write(data)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.storeBlob(oid, z64, b"record", name, "", txn)
    storage.tpc_vote(txn)
    return storage.tpc_finish(txn), digest.hexdigest()


def read(storage: Any, tid: bytes) -> tuple[bytes, str]:
    digest = hashlib.sha256()
    with storage.openCommittedBlobFile(LARGE, tid) as file:
        while data := file.read(CHUNK):
            digest.update(data)
    return tid, digest.hexdigest()


def main() -> None:
    addresses, blob_dir, what, argument = sys.argv[1:]
    storage = springtide.ClusterStorage(addresses, blob_dir=blob_dir)
    if what == "write":
        write(storage, SMALL, 3 * CHUNK)
    had = peak_reset(os.getpid())
    if what == "write":
        tid, digest = write(storage, LARGE, int(argument))
    else:
        tid, digest = read(storage, bytes.fromhex(argument))
    print(json.dumps({"tid": tid.hex(), "digest": digest, "grown": peak(os.getpid()) - had}))
    storage.close()


if __name__ == "__main__":
    main()
