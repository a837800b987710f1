"""The committed state as rows, for a node that is empty or too far behind; and how a copy begins.

Rows are read in many short transactions, so that a slow receiver holds nothing
back here. They show no single moment: the receiver applies every entry after the
base on top of them.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from springtide import errors
from springtide.engine import layout
from springtide.engine.files import Files, writing
from springtide.engine.identity import IdentityFile
from springtide.engine.meta import LAST_OID
from springtide.engine.state import State
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


@dataclass(frozen=True, slots=True)
class Reset:
    """State and log are to begin anew at ``base``."""

    base: Point
    cluster: str
    history: str


def announce(reset: Reset, directory: Path, files: Files) -> None:
    """From here on, a start of this node finishes what was begun."""
    base = [reset.base.epoch, reset.base.lsn, reset.base.digest.hex()]
    said = {"base": base, "cluster": reset.cluster, "history": reset.history}
    with writing(directory / RESET_FILE):
        files.replace(directory / RESET_FILE, json.dumps(said).encode())


def announced(directory: Path) -> Reset | None:
    path = directory / RESET_FILE
    try:
        said = json.loads(path.read_bytes())
        epoch, lsn, digest = said["base"]
        return Reset(Point(epoch, lsn, bytes.fromhex(digest)), said["cluster"], said["history"])
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise errors.Damaged(f"{path} is damaged: {error}") from error


def empty_state(directory: Path, node: str, options: EngineOptions, base: Point) -> State:
    """A state that waits for the rows of a snapshot, in the place of what was there."""
    shutil.rmtree(directory, ignore_errors=True)
    return State(directory, node, options, begin_import=Import(base, TABLES[0], b""))


def settle(reset: Reset, directory: Path, files: Files, identity: IdentityFile) -> None:
    """State and log have begun anew."""
    identity.change(cluster=reset.cluster, history=reset.history)
    with writing(directory / RESET_FILE):
        files.unlink(directory / RESET_FILE)
        files.sync_directory(directory)
