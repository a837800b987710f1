"""Open state and log of a directory so that they agree, or say why they do not."""

from __future__ import annotations

import shutil
from pathlib import Path

from springtide import errors
from springtide.engine import compaction, snapshots
from springtide.engine.decoding import decode_following
from springtide.engine.files import Files
from springtide.engine.identity import IdentityFile
from springtide.engine.log import Log
from springtide.engine.state import State
from springtide.engine.values import Decoded, EngineOptions
from springtide.records.entries import Malformed
from springtide.records.position import ORIGIN


def open_disk(
    directory: Path, identity: IdentityFile, options: EngineOptions, files: Files
) -> tuple[State, Log, list[Decoded]]:
    """State, log, and what the log holds above what is applied.

    What an interrupted ``begin_import`` left is begun again.
    """
    reset = snapshots.announced(directory)
    if reset is not None:
        _begin_anew(reset, directory, identity, options, files)
    compaction.settle(directory, files)
    state = State(directory / "state", identity.identity.node, options)
    try:
        log = Log.open(directory / "log", files, options.segment_bytes)
        _check(state, log, directory)
        return state, log, _tail(state, log)
    except BaseException:
        state.close()
        raise


def _begin_anew(
    reset: snapshots.Reset, directory: Path, identity: IdentityFile, options: EngineOptions, files: Files
) -> None:
    shutil.rmtree(directory / "log", ignore_errors=True)
    log = Log.open(directory / "log", files, options.segment_bytes)
    log.reset(reset.base)
    log.close()
    snapshots.empty_state(directory / "state", identity.identity.node, options, reset.base).close()
    snapshots.settle(reset, directory, files, identity)


def _tail(state: State, log: Log) -> list[Decoded]:
    try:
        tail = log.entries(state.meta.applied.lsn, log.last.lsn)
        decoded, _ = decode_following(tail, state.meta.applied_tid)
        return decoded
    except Malformed as error:
        raise errors.Damaged(f"the log holds an entry that this version cannot read: {error}") from error


def _check(state: State, log: Log, directory: Path) -> None:
    applied = state.meta.applied
    through = max(applied.lsn, state.meta.applying)
    if log.last.lsn < through:
        raise errors.Damaged(f"the log in {directory} ends at lsn {log.last.lsn}, but lsn {through} was applied")
    if log.oldest.lsn > applied.lsn:
        raise errors.Damaged(f"the log in {directory} begins after lsn {log.oldest.lsn}, but {applied} is applied")
    if applied != ORIGIN and log.point(applied.lsn) != applied:
        raise errors.Damaged(f"the log in {directory} has another entry at lsn {applied.lsn} than was applied")
