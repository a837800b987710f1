"""What a committed log says, in dictionaries: the simulator's counterpart of the engine's state.

Pure. Applying an entry twice changes nothing, as after a snapshot whose rows are newer than its base.
"""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy

from springtide.engine.values import Loaded, Result
from springtide.records.entries import Entry, Kind, Transaction, decode_oid_range, decode_transaction
from springtide.records.forget import Forget, decode_forget
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId, number
from springtide.records.ids import tid as make_tid
from springtide.records.packs import Pack, PackBegin, PackEnd, PackStep, decode_pack, encode_pack

OBJECTS, TRANSACTIONS, META = TABLES = ("objects", "transactions", "meta")


class State:
    def __init__(self) -> None:
        self.revisions: dict[Oid, dict[Tid, bytes | None]] = {}
        self.transactions: dict[Tid, TransactionId] = {}
        self.outcomes: dict[TransactionId, Tid] = {}
        self.last_oid = 0
        self.packed = TID_ZERO
        self.forgotten = TID_ZERO
        self.packing: PackBegin | None = None

    def copy(self) -> State:
        return deepcopy(self)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, State) and (
            self.revisions == other.revisions
            and self.transactions == other.transactions
            and self.last_oid == other.last_oid
            and (self.packed, self.packing) == (other.packed, other.packing)
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def last_tid(self) -> Tid:
        return max(self.transactions, default=TID_ZERO)

    def apply(self, entry: Entry) -> Transaction | None:
        match entry.kind:
            case Kind.OIDS:
                given = decode_oid_range(entry.body)
                self.last_oid = max(self.last_oid, given.first + given.count - 1)
            case Kind.TRANSACTION:
                transaction = decode_transaction(entry.body)
                self._transaction(transaction)
                return transaction
            case Kind.FORGET:
                self.forgotten = max(self.forgotten, decode_forget(bytes(entry.body)).before)
            case Kind.PACK:
                self._pack(decode_pack(bytes(entry.body)))
        return None

    def _pack(self, pack: Pack) -> None:
        match pack:
            case PackBegin(tid):
                self.packed, self.packing = max(self.packed, tid), pack
            case PackEnd():
                self.packing = None
            case PackStep(removed):
                for tid, oids in removed:
                    for oid in oids:
                        self.revisions.get(oid, {}).pop(tid, None)
                        if not self.revisions.get(oid, True):
                            del self.revisions[oid]

    def _transaction(self, transaction: Transaction) -> None:
        self.transactions[transaction.tid] = transaction.id
        self.outcomes[transaction.id] = transaction.tid
        for write in transaction.writes:
            self.revisions.setdefault(write.oid, {})[transaction.tid] = write.data
            self.last_oid = max(self.last_oid, number(write.oid))

    def remembered(self, id: TransactionId) -> Tid | None:
        """As the engine answers: what was forgotten is not there."""
        tid = self.outcomes.get(id)
        return None if tid is None or tid < self.forgotten else tid

    def forgettable(self, below: Tid, ids_max: int) -> Forget | None:
        tids = sorted(tid for tid in self.transactions if self.forgotten <= tid < below)[: ids_max + 1]
        if not tids:
            return None
        return Forget(self.forgotten, below if len(tids) <= ids_max else make_tid(number(tids[ids_max - 1]) + 1))

    # -- reads ---------------------------------------------------------------------------------

    def current(self, oid: Oid) -> Tid | None:
        return max(self.revisions.get(oid, {}), default=None)

    def load_before(self, oid: Oid, before: Tid) -> Loaded:
        revisions = self.revisions.get(oid, {})
        as_of = self.last_tid
        older = [tid for tid in revisions if tid < before]
        following = min((tid for tid in revisions if tid >= before), default=None)
        if not older:
            return Loaded(Result.NOT_YET if revisions else Result.UNKNOWN, b"", TID_ZERO, following, as_of)
        tid = max(older)
        data = revisions[tid]
        if data is None:
            return Loaded(Result.DELETED, b"", tid, following, as_of)
        return Loaded(Result.FOUND, data, tid, following, as_of)

    # -- snapshots -----------------------------------------------------------------------------

    def rows(self, table: str, after: bytes) -> Iterator[tuple[bytes, bytes]]:
        """The rows of a table in key order, after a key."""
        yield from sorted(row for row in self._rows(table) if row[0] > after)

    def _rows(self, table: str) -> Iterator[tuple[bytes, bytes]]:
        match table:
            case "objects":
                for oid, revisions in self.revisions.items():
                    for tid, data in revisions.items():
                        yield oid + tid, b"-" if data is None else b"+" + data
            case "transactions":
                yield from self.transactions.items()
            case "meta":
                yield b"forgotten", self.forgotten
                yield b"packed", self.packed
                yield b"packing", encode_pack(self.packing) if self.packing is not None else b""
                yield b"last oid", make_tid(self.last_oid)

    def take(self, table: str, key: bytes, value: bytes) -> None:
        match table:
            case "objects":
                oid, tid = Oid(key[:8]), Tid(key[8:])
                self.revisions.setdefault(oid, {})[tid] = None if value == b"-" else value[1:]
            case "transactions":
                self.transactions[Tid(key)] = TransactionId(value)
                self.outcomes[TransactionId(value)] = Tid(key)
            case "meta" if key == b"forgotten":
                self.forgotten = max(self.forgotten, Tid(value))
            case "meta" if key == b"packed":
                self.packed = max(self.packed, Tid(value))
            case "meta" if key == b"packing":
                pack = decode_pack(value) if value else None
                self.packing = pack if isinstance(pack, PackBegin) else None
            case "meta":
                self.last_oid = max(self.last_oid, number(value))
