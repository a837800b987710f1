"""A state written anew without the pages that nothing is stored in, while the node goes on.

The copy grows beside the state, and is caught up from the log until both show the same. Then it takes its place.
A node that is killed at any step finds, when it starts, either of them whole: see ``settle``.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import lmdb

from springtide import errors
from springtide.engine.decoding import decode_following
from springtide.engine.files import Files, writing
from springtide.engine.state import State
from springtide.engine.translation import translated
from springtide.engine.values import EngineOptions
from springtide.records.entries import Entry

#: Being written; complete, and to be the state from now on; what was the state.
COPYING, COMPACTED, OLD = "state.copying", "state.compacted", "state.old"
#: Entries are applied to the copy so many bytes at a time.
_BYTES_AT_ONCE = 4 * 2**20
#: So few entries are caught up while nothing else is applied.
NEAR_ENTRIES = 100

ReadLog = Callable[[int, int], Sequence[Entry]]


def settle(directory: Path, files: Files) -> None:
    """Finish, or undo, what was begun before the node stopped. Nobody has the state open."""
    state, compacted = directory / "state", directory / COMPACTED
    with writing(state):
        shutil.rmtree(directory / COPYING, ignore_errors=True)
        if compacted.exists():
            if state.exists():
                shutil.rmtree(directory / OLD, ignore_errors=True)
                state.rename(directory / OLD)
            compacted.rename(state)
            files.sync_directory(directory)
        shutil.rmtree(directory / OLD, ignore_errors=True)


def copy(state: State, directory: Path, options: EngineOptions) -> State:
    """A compacted copy of ``state``, as it is at some moment of this call. Blocks for as long as that takes."""
    path = directory / COPYING
    with writing(path):
        shutil.rmtree(path, ignore_errors=True)
        path.mkdir()
    try:
        state.env.copy(str(path), compact=True)
    except lmdb.Error as error:
        raise translated(error, f"writing a compacted copy in {path}") from error
    return State(path, state.meta.node, replace(options, probe=False))


def catch_up(compacted: State, through: int, read: ReadLog) -> None:
    """Apply what the log says after the copy's moment, through an lsn that is applied to the state itself."""
    while compacted.meta.applied.lsn < through:
        found = [entry for entry in read(compacted.meta.applied.lsn, _BYTES_AT_ONCE) if entry.lsn <= through]
        if not found:
            raise errors.Stopping("the log was cut while a compacted copy was caught up")
        compacted.apply(decode_following(found, compacted.meta.applied_tid)[0])


def take_its_place(state: State, compacted: State, directory: Path, files: Files) -> None:
    """``compacted`` shows what ``state`` shows: from here on, it is the state of this directory."""
    if compacted.meta.applied != state.meta.applied:
        raise errors.Broken("I5", f"a copy of the state through {compacted.meta.applied} would take its place")
    with writing(directory):
        (directory / COPYING).rename(directory / COMPACTED)
        files.sync_directory(directory)
    state.mark_dead()
    state.close()
    settle(directory, files)
