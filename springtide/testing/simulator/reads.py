"""The reading half of the simulated engine."""

from __future__ import annotations

from collections.abc import Iterator

from springtide import errors
from springtide.engine.values import Loaded, Result
from springtide.records.entries import Transaction, decode_transaction
from springtide.records.forget import Forget
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId
from springtide.records.packs import PackBegin
from springtide.spool import FileSpool, Spool
from springtide.testing.simulator.platter import Platter
from springtide.testing.simulator.state import State


class Reads:
    """Invariant: ``_state`` is what the log says up to ``_commit``."""

    _platter: Platter
    _state: State
    _commit: int

    @property
    def commit_lsn(self) -> int:
        return self._commit

    @property
    def commit_tid(self) -> Tid:
        return self._state.last_tid

    @property
    def last_oid(self) -> int:
        return self._state.last_oid

    @property
    def packed(self) -> Tid:
        return self._state.packed

    @property
    def packing(self) -> PackBegin | None:
        return self._state.packing

    @property
    def packs(self) -> int:
        return 0

    def damage_found(self, error: errors.Damaged) -> None:
        """The node stops."""

    def load_before(self, oid: Oid, before: Tid) -> Loaded:
        found = self._state.load_before(oid, before)
        self._verify(oid, found.tid)
        return found

    def _verify(self, oid: Oid, tid: Tid) -> None:
        if (oid, tid) in self._platter.health.rotten:
            error = errors.Damaged(f"the record of oid {oid.hex()} at {tid.hex()} is not what was written")
            self.damage_found(error)
            raise error

    def load_serial(self, oid: Oid, tid: Tid) -> Loaded:
        self._verify(oid, tid)
        data = self._state.revisions.get(oid, {}).get(tid)
        if data is None:
            return Loaded(Result.UNKNOWN, b"", TID_ZERO, None, self.commit_tid)
        return Loaded(Result.FOUND, data, tid, None, self.commit_tid)

    def current(self, oid: Oid) -> Tid | None:
        return self._state.current(oid)

    def outcome(self, transaction: TransactionId) -> Tid | None:
        return self._state.remembered(transaction)

    @property
    def forgotten(self) -> Tid:
        return self._state.forgotten

    async def forgettable(self, below: Tid, ids_max: int) -> Forget | None:
        return self._state.forgettable(below, ids_max)

    def changed_since(self, tid: Tid) -> Iterator[tuple[Tid, tuple[Oid, ...]]]:
        for later in sorted(t for t in self._state.transactions if t > tid):
            yield later, tuple(sorted(oid for oid, found in self._state.revisions.items() if later in found))

    def gone_since(self, packs: int) -> Iterator[tuple[int, tuple[Oid, ...]]]:
        return iter(())

    def transactions(self, start: Tid, stop: Tid) -> Iterator[Transaction]:
        for entry in self._platter.between(self._platter.base.lsn, self._commit):
            if entry.kind == 1 and start <= (transaction := decode_transaction(entry.body)).tid <= stop:
                yield transaction

    def object_count(self) -> int:
        return len(self._state.revisions)

    def size_bytes(self) -> int:
        return sum(len(entry.body) for entry in self._platter.entries)

    def headroom_bytes(self) -> int:
        return self._platter.health.free_bytes

    def spool(self, begin: int = 0) -> Spool:
        return FileSpool(begin=begin)

    stage = spool

    def diverged(self) -> list[str]:
        return [f"{tail[0].point}..{tail[-1].point}" for tail in self._platter.diverged]
