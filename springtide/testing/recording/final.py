"""What a healed cluster holds: the log as clients see it, and the directories of its nodes."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lmdb

from springtide.engine import TABLES, read_log
from springtide.records.ids import number
from springtide.testing.checkers.copies import Copy
from springtide.testing.checkers.log import FinalLog, Logged
from springtide.testing.recording.storage import digest

#: What only the node itself knows is in this table: who it is, how far it has applied.
_OWN_TABLE = "meta"
#: Nothing is read beyond what LMDB has mapped, and nothing is written.
_MAP_BYTES = 16 * 2**40


def final_log(storage: Any) -> FinalLog:
    """Every transaction that ``storage`` iterates over. Its description says whose it is."""
    return FinalLog(
        Logged(
            number(each.tid),
            each.description.decode(errors="replace"),
            {number(record.oid): None if record.data is None else digest(record.data) for record in each},
        )
        for each in storage.iterator()
    )


def read_copy(node: str, directory: Path) -> Copy:
    """What is on the disk of a node that does not run, or is stopped (SIGSTOP) with nothing to do."""
    entries = {entry.lsn: (entry.epoch, entry.digest.hex()) for entry in read_log(directory / "log")}
    return Copy(node, entries, _rows(directory / "state"), _files(directory / "blobs"))


def _rows(directory: Path) -> Mapping[str, str]:
    rows: dict[str, str] = {}
    env = lmdb.open(str(directory), map_size=_MAP_BYTES, max_dbs=len(TABLES), readonly=True, lock=False)
    try:
        tables = {name: env.open_db(name.encode(), create=False) for name in TABLES if name != _OWN_TABLE}
        with env.begin(buffers=True) as txn:
            for name, table in tables.items():
                for key, value in txn.cursor(table):
                    rows[f"{name}/{bytes(key).hex()}"] = digest(bytes(value))
    finally:
        env.close()
    return rows


def _files(directory: Path) -> Mapping[str, str]:
    """The files of committed blobs; others are on their way in or out."""
    found = sorted(directory.glob("0x*/**/*.blob"))
    return {str(path.relative_to(directory)): _digest_of(path) for path in found}


def _digest_of(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
