"""The committed state as rows, for a node that is empty or too far behind; and how a copy begins.

Rows are read in many short transactions, so that a slow receiver holds nothing
back here. They show no single moment: the receiver applies every entry after the
base on top of them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path

from springtide import errors
from springtide.engine import layout
from springtide.engine.files import Files
from springtide.engine.log import Log
from springtide.engine.state import LAST_OID, State
from springtide.engine.values import TABLES, EngineOptions, Import
from springtide.records.position import Point

#: Says that state and log are to be emptied: while it exists, they may be half of either.
RESET_FILE = "reset.json"


def export(state: State, table: str, after: bytes, bytes_max: int) -> Sequence[tuple[bytes, bytes]]:
    """The rows of ``table`` that follow key ``after`` (b"": from the start); none: the table has ended."""
    if table not in TABLES:
        raise errors.BadRequest(f"a snapshot has no table {table!r}")
    if table == "meta":
        return _export_meta(state) if after < LAST_OID else ()
    rows = state.rows(table, after + b"\0" if after else b"", bytes_max)
    for key, value in rows:
        layout.unseal(table, key, value)
    return rows


def _export_meta(state: State) -> Sequence[tuple[bytes, bytes]]:
    return ((LAST_OID, layout.seal(LAST_OID, state.meta.last_oid.to_bytes(8, "big"))),)


# -- beginning anew ------------------------------------------------------------------------------


def announce_reset(directory: Path, files: Files, base: Point, cluster: str, history: str) -> None:
    """From here on, a start of this node finishes what was begun."""
    said = {"epoch": base.epoch, "lsn": base.lsn, "digest": base.digest.hex(), "cluster": cluster, "history": history}
    files.replace(directory / RESET_FILE, json.dumps(said).encode())


def announced_reset(directory: Path) -> tuple[Point, str, str] | None:
    try:
        said = json.loads((directory / RESET_FILE).read_bytes())
        return Point(said["epoch"], said["lsn"], bytes.fromhex(said["digest"])), said["cluster"], said["history"]
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise errors.Damaged(f"{directory / RESET_FILE} is damaged: {error}") from error


def empty_state(directory: Path, node: str, options: EngineOptions, base: Point) -> State:
    """A state that waits for the rows of a snapshot, in the place of what was there."""
    shutil.rmtree(directory, ignore_errors=True)
    return State(directory, node, options, begin_import=Import(base, TABLES[0], b""))


def empty_log(log: Log, base: Point) -> None:
    if log.oldest != base or log.last != base:
        log.reset(base)


def reset_done(directory: Path, files: Files) -> None:
    files.unlink(directory / RESET_FILE)
    files.sync_directory(directory)
