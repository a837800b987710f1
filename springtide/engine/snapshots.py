"""The committed state as rows, for a node that is empty or too far behind; and how a copy begins.

Rows are read in many short transactions, so that a slow receiver holds nothing
back here. They show no single moment: the receiver applies every entry after the
base on top of them.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

from springtide import errors
from springtide.engine import layout, sealed
from springtide.engine.files import Files, writing
from springtide.engine.identity import IdentityFile
from springtide.engine.state import State
from springtide.engine.values import TABLES, EngineOptions, Import
from springtide.records.position import Point

P = ParamSpec("P")
R = TypeVar("R")


class Guard(Protocol):
    """Calls a function that reads, and tells the node of damage that it meets."""

    def __call__(self, function: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R: ...


#: Says that state and log are to be emptied: while it exists, they may be half of either.
RESET_FILE = "reset.json"


class Export:
    """What one snapshot is read from: a state that stays the same one, or says that it is gone.

    Any thread may read. When the node itself begins anew, or closes, every method raises ``Stopping``,
    so nobody takes a part of the rows for all of them.
    """

    def __init__(self, state: State, guard: Guard) -> None:
        #: Where the log of the receiver begins.
        self.base = state.meta.applied
        #: About how many objects there are.
        self.objects = state.meta.objects
        self._state = state
        self._guard = guard

    def read(self, table: str, after: bytes, bytes_max: int) -> Sequence[tuple[bytes, bytes]]:
        """Rows of ``table`` (one of TABLES, in that order) that follow key ``after`` (b"": from the start).

        At least one where any exists: none says that the table has ended.
        """
        return self._guard(_export, self._state, table, after, bytes_max)

    def applied(self) -> int:
        """Rows that were read so far say nothing of what follows this lsn: a copy is whole once it is applied."""
        return self._guard(self._state.reach)


def _export(state: State, table: str, after: bytes, bytes_max: int) -> Sequence[tuple[bytes, bytes]]:
    if table not in TABLES:
        raise errors.BadRequest(f"a snapshot has no table {table!r}")
    if table == "meta":
        return state.meta_rows(after)
    rows = state.rows(table, after + b"\0" if after else b"", bytes_max)
    for key, value in rows:
        layout.unseal(table, key, value)
    return rows


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
        files.replace(directory / RESET_FILE, sealed.seal(said))


def announced(directory: Path) -> Reset | None:
    path = directory / RESET_FILE
    try:
        said = sealed.unseal(path.read_bytes())
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
