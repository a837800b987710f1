"""What must hold at every moment of every run, checked by one who sees all disks and the record.

I1  every member of the record's set, in its present incarnation, holds every committed entry durably
I2  no lsn is ever committed with two different entries
I3  what a node commits is on its own disk, and (by I1) on those of all that could be elected: the minimum at least
I4  one epoch belongs to one run of one node
I5  nothing is read that is not committed, and what is read is what was written
I6  some disk always holds everything that is committed; at the end every node's log does
I7  a transaction id is committed once at most; "never" stays true; an acknowledged tid is the committed one
and, of ZODB's own: tids grow along the log, no update is lost, no oid is given out twice, a strict read sees
every commit acknowledged before it began.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from springtide.coordinator.topology import Record
from springtide.engine.values import Committed, Loaded
from springtide.records.entries import (
    Entry,
    Kind,
    OidRange,
    Transaction,
    decode_epoch_start,
    decode_oid_range,
    decode_transaction,
)
from springtide.records.ids import TID_ZERO, Member, NodeId, Oid, Tid, TransactionId, number
from springtide.records.position import ORIGIN, Point
from springtide.testing.checkers import check_everything
from springtide.testing.simulator.notes import Notebook
from springtide.testing.simulator.platter import Platter
from springtide.testing.simulator.state import State
from springtide.testing.simulator.workload import read_checks, serial_of


class Judge:
    def __init__(self, platters: Mapping[str, Platter], tell: Callable[[str], None]) -> None:
        self._platters = platters
        self._tell = tell
        self.violations: list[str] = []
        self.record: Record | None = None
        self.points: list[Point] = [ORIGIN]  # of the committed entries, by lsn
        self.state = State()
        self.notebook = Notebook()
        self.acknowledged: dict[TransactionId, Tid] = {}
        self.last_acknowledged = TID_ZERO
        self._denied: set[TransactionId] = set()
        self._owners: dict[int, tuple[Member, str]] = {}
        self._unsettled: dict[int, tuple[Member, str]] = {}
        self._begun: set[int] = set()
        self._given: list[OidRange] = []

    def violated(self, what: str) -> None:
        self.violations.append(what)
        self._tell(f"VIOLATION {what}")

    # -- the record and the disks ----------------------------------------------------------------

    def recorded(self, record: Record) -> None:
        """The record has just been written."""
        self._tell(
            f"record: epoch {record.epoch}, primary {record.primary} ({record.uptime}), in sync "
            + ", ".join(str(member) for member in sorted(record.in_sync))
        )
        owner = (record.primary, record.uptime)
        if self._unsettled.pop(record.epoch, owner) != owner:
            self._owners[record.epoch] = owner
        if self._owners.setdefault(record.epoch, owner) != owner:
            self.violated(f"I4: epoch {record.epoch} belongs to {self._owners[record.epoch]} and to {owner}")
        if self.record is not None and record.epoch < self.record.epoch:
            self.violated(f"I4: epoch {record.epoch} follows epoch {self.record.epoch}")
        self.record = record
        self._check_members(sorted(record.in_sync))

    def doubts(self) -> None:
        """The store was put back: epochs in which nothing was committed may come to belong to somebody else."""
        self.record = None
        self._unsettled = {epoch: owner for epoch, owner in self._owners.items() if epoch not in self._begun}

    def changed(self, node: str) -> None:
        end = self.points[-1]
        if not any(platter.point(end.lsn) == end for platter in self._platters.values()):
            self.violated(f"I6: no disk holds {end}, which is committed, any more")
        if self.record is not None:
            member = self.record.member_of(NodeId(node))
            self._check_members([member] if member is not None else [])

    def _check_members(self, members: Iterable[Member]) -> None:
        end = self.points[-1]
        for member in members:
            platter = self._platters[member.node]
            if platter.identity.incarnation != member.incarnation:
                continue  # that disk is lost; nobody can elect it
            if platter.importing is not None:
                self.violated(f"I1: {member} is in sync and takes a snapshot")
            elif platter.point(end.lsn) != end:
                self.violated(
                    f"I1: {member} is in sync, and its disk holds {platter.last} but not {end}, which is committed"
                )

    # -- commits ---------------------------------------------------------------------------------

    def committed(self, node: str, entries: Sequence[Entry]) -> None:
        """A node moves its commit point over these entries."""
        news = False
        for entry in entries:
            if entry.lsn < len(self.points):
                if self.points[entry.lsn] != entry.point:
                    self.violated(f"I2: {node} commits {entry.point}, where {self.points[entry.lsn]} was committed")
            elif entry.lsn > len(self.points):
                self.violated(f"I2: {node} commits {entry.point} after {self.points[-1]}: a gap")
            else:
                self._new(entry)
                news = True
        if news and self.record is not None:
            end, minimum = self.points[-1], self.record.minimum
            # Who acknowledged may have lost the disk since: that is what there is a minimum for.
            lost = sum(self._platters[m.node].identity.incarnation != m.incarnation for m in self.record.in_sync)
            if sum(platter.point(end.lsn) == end for platter in self._platters.values()) < minimum - lost:
                self.violated(f"I3: {node} commits {end}, which fewer than {minimum} disks hold")
            self._check_members(sorted(self.record.in_sync))

    def _new(self, entry: Entry) -> None:
        if entry.epoch < self.points[-1].epoch:
            self.violated(f"epochs fall along the log at {entry.point}")
        self.points.append(entry.point)
        match entry.kind:
            case Kind.TRANSACTION:
                transaction = decode_transaction(entry.body)
                self._transaction(transaction)
                self.notebook.committed(transaction)
            case Kind.OIDS:
                self._oids(decode_oid_range(entry.body))
            case Kind.EPOCH:
                start = decode_epoch_start(entry.body)
                member, uptime = self._owners.get(entry.epoch, (None, ""))
                if member is None or (member.node, uptime) != (start.node, start.uptime):
                    self.violated(f"I4: epoch {entry.epoch} of {member} {uptime} was begun by {start}")
                if entry.epoch in self._begun:
                    self.violated(f"I4: epoch {entry.epoch} is begun twice")
                self._begun.add(entry.epoch)
        self.state.apply(entry)

    def _transaction(self, transaction: Transaction) -> None:
        if transaction.id in self._denied:
            self.violated(f"I7: {transaction.id.hex()} is committed, and was said never to be")
        if transaction.id in self.state.outcomes:
            self.violated(f"I7: {transaction.id.hex()} is committed twice")
        if transaction.tid <= self.state.last_tid:
            self.violated(f"tid {number(transaction.tid)} follows {number(self.state.last_tid)}")
        for write in transaction.writes:
            assert write.data is not None
            self._based_on(transaction, write.oid, serial_of(write.data), "lost update")
        for oid, serial in read_checks(transaction):
            self._based_on(transaction, oid, serial, "read check ignored")

    def _based_on(self, transaction: Transaction, oid: Oid, serial: Tid, what: str) -> None:
        current = self.state.current(oid) or TID_ZERO
        if current != serial:
            self.violated(
                f"{what}: {transaction.id.hex()} writes oid {number(oid)} over {number(serial)}, "
                f"and {number(current)} is current"
            )

    def _oids(self, given: OidRange) -> None:
        last = given.first + given.count
        for other in self._given:
            if given.first < other.first + other.count and other.first < last:
                self.violated(f"oids {given.first} to {last - 1} are given out twice")
        self._given.append(given)

    # -- answers ---------------------------------------------------------------------------------

    def acknowledge(self, id: TransactionId, tid: Tid) -> None:
        """A client was told: committed, with this tid."""
        if self.state.outcomes.get(id) != tid:
            self.violated(f"I7: {id.hex()} was acknowledged as {number(tid)}, which is not committed")
        self.acknowledged[id] = tid
        self.last_acknowledged = max(self.last_acknowledged, tid)

    def deny(self, id: TransactionId) -> None:
        """A client was told: never, and will not try this id again."""
        if id in self.state.outcomes:
            self.violated(f"I7: {id.hex()} was said never to be committed, and is")
        self._denied.add(id)

    def strict(self, tid: Tid, floor: Tid) -> None:
        """A strict read was answered at ``tid``; ``floor`` was acknowledged before it began."""
        if tid < floor:
            self.violated(f"a strict read shows {number(tid)} after {number(floor)} was acknowledged")

    def session(self, client: str, seen: Tid, shown: Tid) -> None:
        """A client that has ``seen`` so much begins a transaction at what it is shown now."""
        if shown < seen:
            self.violated(f"{client} saw {number(seen)}, and is shown {number(shown)}")

    def read(self, client: str, oid: Oid, before: Tid, loaded: Loaded) -> None:
        """A node answered with the newest revision before a tid."""
        if loaded.as_of > self.state.last_tid:
            last = number(self.state.last_tid)
            self.violated(f"I5: {client} is shown {number(loaded.as_of)}, and {last} is the last commit")
            return
        if before <= self.state.packed:
            return  # a pack is taking it away, here or there: the checkers look at what was found
        expected = self.state.load_before(oid, before)
        if (loaded.tid, loaded.data) != (expected.tid, expected.data):
            self.violated(
                f"I5: {client} is shown oid {number(oid)} before {number(before)} at {number(loaded.tid)}, "
                f"not {number(expected.tid)}"
            )

    def told(self, node: str, committed: Sequence[Committed]) -> None:
        """A node tells its clients what was committed."""
        for entry in committed:
            if entry.transaction is not None and entry.transaction.tid > self.state.last_tid:
                self.violated(f"I5: {node} tells clients of {number(entry.transaction.tid)}, which is not committed")

    def cached(self, client: str, oid: Oid, before: Tid, tid: Tid, data: bytes) -> None:
        """A client takes this for the newest revision before a tid, without asking anybody."""
        if before <= self.state.packed:
            return
        expected = self.state.load_before(oid, before)
        if (tid, data) != (expected.tid, expected.data):
            self.violated(
                f"I5: {client} has cached oid {number(oid)} before {number(before)} at {number(tid)}, "
                f"not {number(expected.tid)}"
            )

    # -- the end ---------------------------------------------------------------------------------

    def converged(self, nodes: Iterable[str]) -> list[str]:
        """Why not every node holds everything and nothing else, if so."""
        end = self.points[-1]
        wrong = []
        for node in nodes:
            platter = self._platters[node]
            if platter.last != end or platter.applied != end.lsn:
                wrong.append(f"{node} is at {platter.last}, applied {platter.applied}, not {end}")
            elif platter.state != self.state:
                wrong.append(f"{node} holds another state")
        return wrong

    def check_end(self) -> None:
        for id, tid in self.acknowledged.items():
            if self.state.outcomes.get(id) != tid:
                self.violated(f"I6: {id.hex()} was acknowledged and is lost")
        for anomaly in check_everything(self.notebook.history(), self.notebook.log()):
            self.violated(str(anomaly))
