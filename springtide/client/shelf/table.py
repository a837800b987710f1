"""What is on the shelf: revisions, and up to where they are known to be the answer.

Written by several processes in turn, read by all of them at any time; LMDB gives each
transaction one state. The invariant, of each such state:

* ``through`` and ``run``: every change up to ``through`` that could end a revision which is OPEN in this run
  has been applied. So such a revision is current at ``through`` (or, where it was put down by a process that
  knew more, and is newer than that, at its own tid).
* A run ends where changes are missing. What is OPEN in a run that has ended was current at that run's last
  ``through``, which is kept; nothing more is known of it until a node says so.
* An ENDED revision is followed by the one it names; a BOUNDED one was current at the tid it names.
* No object of it had been taken away when ``packs`` packs had been, but for revisions of runs before ``trusted``: of
  these that must be asked.

Whatever is committed, this stays true. So a process that writes needs only this: its changes follow
each other from a tid that the shelf has reached (``Batch.since``), else the run ends; and what it says is
OPEN it knows to be current at a tid that the shelf has not passed, else it is BOUNDED there. A process that
reads combines ``through`` with the changes that it was told itself, as with the answer of a node.

Eviction: first what has ended, oldest first (a new process has no old snapshots); then by age, where what this process
has in memory gets another turn. Reads write nothing, so that they wait for nobody.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

from springtide.client.shelf import rows
from springtide.client.shelf.batch import Batch, Change
from springtide.client.shelf.rows import Doubtful, Identity, Known, RevisionRow, State
from springtide.records.ids import TID_ZERO, Oid, Tid

#: Turns that one writing gives to what is in memory: it must end.
TURNS_MAX = 1_000
#: Runs whose end is kept. Of what is OPEN in an older one, only its own tid is known.
RUNS_MAX = 64
_STATE = b"state"


class Found(NamedTuple):
    """A revision, in the words of a node's answer: what follows it, or that nothing did at ``as_of``."""

    oid: Oid
    data: bytes
    tid: Tid
    next_tid: Tid | None
    as_of: Tid
    packs: int
    doubted: bool


class Table:
    def __init__(self, environment: Any, bytes_max: int) -> None:
        self.bytes_max = bytes_max
        self._environment = environment
        self._revisions, self._data, self._places, self._meta = (
            environment.open_db(name) for name in (b"revisions", b"data", b"places", b"meta")
        )
        #: Around reads and around writes of this process: the environment must not be closed under them.
        self._gate = threading.Lock()
        self._writing = threading.Lock()

    def begin(self, identity: Identity, through: Tid, packs: int) -> None:
        """In an empty environment."""
        with self._environment.begin(write=True) as txn:
            self._put_state(txn, State(identity, 0, 0, through, packs, 0))

    def state(self) -> State:
        with self._gate, self._environment.begin(db=self._meta) as txn:
            return self._state(txn)

    def statistics(self) -> dict[str, int]:
        with self._gate, self._environment.begin() as txn:
            return {"bytes": self._bytes(txn), "revisions": txn.stat(self._revisions)["entries"]}

    def close(self) -> None:
        with self._writing, self._gate:
            self._environment.close()

    def sync(self) -> None:
        with self._writing:
            self._environment.sync(True)

    def forget_dead_readers(self) -> None:
        """A process that was killed while it read holds pages until somebody looks."""
        with self._writing:
            self._environment.reader_check()

    # -- reading -----------------------------------------------------------------------------------

    def newest(self, oid: Oid, before: Tid) -> Found | None:
        """The newest revision before ``before`` that is here: perhaps there are others after it."""
        with self._gate, self._environment.begin() as txn:
            key = _newest(txn.cursor(self._revisions), oid, before)
            return None if key is None else self._found(txn, key)

    def exactly(self, oid: Oid, tid: Tid) -> Found | None:
        with self._gate, self._environment.begin() as txn:
            here = txn.get(oid + tid, db=self._revisions) is not None
            return self._found(txn, oid + tid) if here else None

    def _found(self, txn: Any, key: bytes) -> Found:
        state = self._state(txn)
        row = rows.decode_revision(key, txn.get(key, db=self._revisions))
        data = txn.get(key, db=self._data)
        if data is None or len(data) != row.size or rows.digest(data) != row.digest:
            raise Doubtful(f"the record {key.hex()} is damaged")
        tid = Tid(key[8:])
        next_tid = row.at if row.known is Known.ENDED else None
        as_of = max(tid, self._as_of(txn, state, row))
        return Found(rows.oid_of(key), data, tid, next_tid, as_of, state.packs, row.run < state.trusted)

    def _as_of(self, txn: Any, state: State, row: RevisionRow) -> Tid:
        if row.known is not Known.OPEN:
            return row.at
        if row.run == state.run:
            return state.through
        key = rows.run_key(row.run)
        ended = txn.get(key, db=self._meta)
        return TID_ZERO if ended is None else rows.decode_tid(key, ended)

    # -- writing -----------------------------------------------------------------------------------

    def follows(self, batch: Batch) -> bool:
        """Whether ``batch`` can be written without ending the run."""
        return _follows(batch, self.state())

    def write(self, batch: Batch, in_use: Callable[[Oid, Tid], bool]) -> None:
        """Apply ``batch``, which is of the same history."""
        with self._writing, self._environment.begin(write=True) as txn:
            state = self._state(txn)
            packed = batch.packs_since > state.packs
            if not packed:
                self._apply_purges(txn, state, batch)
            if _follows(batch, state):
                self._apply_changes(txn, state, batch)
            else:
                state = self._end_run(txn, state, packed)
            superseded = [purged.superseded for purged in batch.purges if purged.packs > state.packs]
            if max(superseded, default=TID_ZERO) > TID_ZERO:
                self._forget_superseded(txn, max(superseded))
            known = batch.through >= state.through
            state = replace(state, through=max(state.through, batch.through), packs=max(state.packs, batch.packs))
            if batch.packs == state.packs:  # else they may have been taken away
                state = self._put_items(txn, state, batch, known)
            state = self._evict(txn, state, in_use)
            self._put_state(txn, state)

    def _end_run(self, txn: Any, state: State, packed: bool) -> State:
        key = rows.run_key(state.run)
        txn.put(key, rows.encode_tid(key, state.through), db=self._meta)
        if state.run >= RUNS_MAX:
            txn.delete(rows.run_key(state.run - RUNS_MAX), db=self._meta)
        run = state.run + 1
        return replace(state, run=run, trusted=run if packed else state.trusted)

    def _apply_changes(self, txn: Any, state: State, batch: Batch) -> None:
        cursor = txn.cursor(self._revisions)
        for change in batch.changes:
            if change.tid > state.through:
                for oid in sorted(change.oids):
                    self._end(txn, cursor, state, oid, change)

    def _apply_purges(self, txn: Any, state: State, batch: Batch) -> None:
        cursor = txn.cursor(self._revisions)
        for purged in batch.purges:
            if purged.packs > state.packs:
                for oid in sorted(purged.oids):
                    self._purge(txn, cursor, oid)

    def _end(self, txn: Any, cursor: Any, state: State, oid: Oid, change: Change) -> None:
        """Only the newest revision before it can be OPEN: older ones were ended by the changes that made newer."""
        key = _newest(cursor, oid, change.tid)
        if key is not None:
            row = rows.decode_revision(key, cursor.value())
            if row.known is Known.OPEN and row.run == state.run:
                known, at = (Known.BOUNDED, state.through) if change.leapt else (Known.ENDED, change.tid)
                self._change(txn, key, row, replace(row, known=known, at=at))

    def _purge(self, txn: Any, cursor: Any, oid: Oid) -> None:
        while cursor.set_range(oid) and (key := cursor.key())[:8] == oid:
            self._remove(txn, key, rows.decode_revision(key, cursor.value()))

    def _forget_superseded(self, txn: Any, through: Tid) -> None:
        """Of what has ended, what something at or below ``through`` had replaced."""
        cursor = txn.cursor(self._places)
        more = cursor.first()
        while more and cursor.key()[:1] == rows.ENDED_PLACE:
            key = cursor.value()
            row = rows.decode_revision(key, txn.get(key, db=self._revisions) or b"")
            if row.at <= through:
                txn.delete(key, db=self._revisions)
                txn.delete(key, db=self._data)
                cursor.delete()
                more = bool(cursor.key())
            else:
                more = cursor.next()

    def _put_items(self, txn: Any, state: State, batch: Batch, known: bool) -> State:
        """``known``: what is OPEN in the batch is so at ``state.through``."""
        place = state.place
        for oid, tid, item in batch.items():
            if len(item.data) > self.bytes_max // 8:
                continue  # one huge record should not displace everything else
            key = oid + tid
            row = RevisionRow(item.known, item.at, state.run, place, len(item.data), rows.digest(item.data))
            if item.known is Known.OPEN and not known:
                row = replace(row, known=Known.BOUNDED, at=batch.through)
            stored = txn.get(key, db=self._revisions)
            if stored is None:
                place += 1
                txn.put(key, item.data, db=self._data)
                self._put(txn, key, row)
            elif self._says_more(txn, state, row, old := rows.decode_revision(key, stored)):
                self._change(txn, key, old, replace(row, place=old.place))
        return replace(state, place=place)

    def _says_more(self, txn: Any, state: State, new: RevisionRow, old: RevisionRow) -> bool:
        if old.run < state.trusted:
            return True
        if Known.ENDED in (new.known, old.known):
            return old.known is not Known.ENDED
        if old.known is Known.OPEN and old.run == state.run:
            return False
        return new.known is Known.OPEN or new.at > self._as_of(txn, state, old)

    def _put(self, txn: Any, key: bytes, row: RevisionRow) -> None:
        txn.put(key, rows.encode_revision(key, row), db=self._revisions)
        txn.put(rows.place_key(row), key, db=self._places)

    def _change(self, txn: Any, key: bytes, old: RevisionRow, new: RevisionRow) -> None:
        if rows.place_key(old) != rows.place_key(new):
            txn.delete(rows.place_key(old), db=self._places)
        self._put(txn, key, new)

    def _remove(self, txn: Any, key: bytes, row: RevisionRow) -> None:
        txn.delete(key, db=self._revisions)
        txn.delete(key, db=self._data)
        txn.delete(rows.place_key(row), db=self._places)

    def _evict(self, txn: Any, state: State, in_use: Callable[[Oid, Tid], bool]) -> State:
        turns = TURNS_MAX
        cursor = txn.cursor(self._places)
        while self._bytes(txn) > self.bytes_max and cursor.first():
            key = cursor.value()
            row = rows.decode_revision(key, txn.get(key, db=self._revisions) or b"")
            if turns and row.known is not Known.ENDED and in_use(rows.oid_of(key), Tid(key[8:])):
                turns -= 1
                self._change(txn, key, row, replace(row, place=state.place))
                state = replace(state, place=state.place + 1)
            else:
                self._remove(txn, key, row)
        return state

    def _bytes(self, txn: Any) -> int:
        """Of the pages in use, as LMDB counts them."""
        pages = 0
        for table in (self._revisions, self._data, self._places):
            stat: dict[str, int] = txn.stat(table)
            pages += stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
        return pages * stat["psize"]

    def _state(self, txn: Any) -> State:
        return rows.decode_state(_STATE, txn.get(_STATE, db=self._meta))

    def _put_state(self, txn: Any, state: State) -> None:
        txn.put(_STATE, rows.encode_state(_STATE, state), db=self._meta)


def _follows(batch: Batch, state: State) -> bool:
    return batch.since <= state.through and batch.packs_since <= state.packs


def _newest(cursor: Any, oid: Oid, before: Tid) -> bytes | None:
    """Moves to the newest revision of ``oid`` before ``before``; its key."""
    if cursor.prev() if cursor.set_range(oid + before) else cursor.last():
        key: bytes = cursor.key()
        if key[:8] == oid:
            return key
    return None
