"""Which attempts of which transactions are under way in this epoch?

Pure. An attempt belongs to one epoch, because the table does: a new primary begins
with an empty one, so nothing voted under an older primary can be finished here.
Keeps rule R10 and invariant I7: once an outcome was asked for, earlier attempts of that id are refused for good.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Protocol

from springtide.errors import BadRequest, TooLarge, VoteTimedOut
from springtide.primary.conflicts import Conflict, Intent, Wanted
from springtide.primary.locks import Mode
from springtide.records.blobs import Named
from springtide.records.entries import Transaction, Write
from springtide.records.ids import Oid, Tid, TransactionId

#: Refusals that are remembered. An attempt can only be finished while its ballot
#: exists, which a refusal removes; the memory is against votes that arrive late,
#: from sessions that are gone, so a few minutes' worth is plenty.
FENCES_MAX = 100_000

#: What a transaction with a given tid locks beside its objects: nobody else finishes meanwhile. It sorts
#: after every oid, so whoever holds it waits for no object, and no finish that it holds back waits for it in a circle.
ORDER = b"\xff" * 9

#: Ballots that one session may have at a time. A storage has one for each thread that commits.
BALLOTS_OF_SESSION_MAX = 1_000


#: What an object takes of memory while its transaction is under way, beside its record: wants, locks, names.
WANT_BYTES = 512


class File(Protocol):
    """The transaction's body on disk, as far as it is known: see ``primary.spooled``."""


class Phase(Enum):
    COLLECTING = "collecting"  # writes arrive
    LOCKING = "locking"  # waits for locks, or for the serials to be looked up
    CONFLICTED = "conflicted"  # holds its locks; the client resolves
    VOTED = "voted"  # holds its locks; will commit if asked to
    HELD = "held"  # was asked to, and waits for its turn
    FINISHING = "finishing"  # appended to the log: nothing takes it back
    GIVEN_UP = "given up"  # never appended


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a vote says about its transaction beside the writes."""

    user: bytes = b""
    description: bytes = b""
    extension: bytes = b""
    tid: Tid | None = None
    status: bytes = b" "
    #: The oldest transaction that this one undoes.
    undoes: Tid | None = None


@dataclass(frozen=True, slots=True)
class Voted:
    epoch: int
    conflicts: tuple[Conflict, ...]
    #: Ids of files that this node lacks. The vote took place only if there are none.
    missing_blobs: tuple[bytes, ...] = ()


@dataclass(slots=True, eq=False)
class Ballot:
    """One attempt of one transaction. It is its own name as an owner of locks."""

    id: TransactionId
    attempt: int
    session: Hashable
    phase: Phase = Phase.COLLECTING
    wanted: dict[tuple[Oid, bool], Wanted] = field(default_factory=dict)
    #: Bytes of records: all of them, and those in memory.
    size: int = 0
    held: int = 0
    #: Where a large transaction goes. Then ``wanted`` has no records, and ``fresh`` what is not there yet.
    file: File | None = None
    fresh: list[Wanted] = field(default_factory=list)
    #: The id under which its body goes ahead to the followers.
    body: bytes = b""
    ticket: Ticket = Ticket()
    #: What was locked at the first vote; a resolved conflict asks for nothing else.
    claimed: dict[bytes, Mode] = field(default_factory=dict)
    touched_at: float = 0.0
    #: Tells whoever asked for the finish that it did not come to it.
    given_up: Callable[[], None] | None = None

    def locks(self) -> dict[bytes, Mode]:
        wants: dict[bytes, Mode] = {ORDER: Mode.EXCLUDE} if self.ticket.tid is not None else {}
        for want in self.wanted.values():
            if want.intent is not Intent.CHECK:
                wants[want.oid] = Mode.EXCLUDE
            else:
                wants.setdefault(want.oid, Mode.SHARE)
        return wants

    def files(self) -> list[Named]:
        """What its writes name beside their records."""
        return [
            Named(want.blob, want.oid, None, want.data_tid)
            for want in self.wanted.values()
            if want.blob is not None and want.intent is not Intent.CHECK
        ]

    def transaction(self, tid: Tid) -> Transaction:
        assert self.file is None, "its records are in memory"
        writes = [want.write() for want in self.wanted.values() if want.intent is not Intent.CHECK]
        return self.about(tid, tuple(writes))

    def about(self, tid: Tid, writes: Sequence[Write] = ()) -> Transaction:
        """A transaction with all that a vote says beside the writes."""
        ticket = self.ticket
        return Transaction(tid, self.id, ticket.user, ticket.description, ticket.extension, writes, ticket.status)

    def put(self, want: Wanted) -> None:
        key = (want.oid, want.intent is Intent.CHECK)
        size = len(want.data) if want.data is not None else 0
        former = self.wanted.get(key)
        more = size if former is None else size - former.size
        self.size += more
        if self.file is None:
            self.held += more
            self.wanted[key] = want
        else:
            self.held += size
            self.fresh.append(want)
            self.wanted[key] = want.moved()

    def move(self, file: File) -> list[Wanted]:
        """What is in memory and shall be written to ``file``, in this order; here only its sizes are left."""
        if self.file is None:
            self.file, self.fresh = file, list(self.wanted.values())
            self.wanted = {key: want.moved() for key, want in self.wanted.items()}
        fresh, self.fresh, self.held = self.fresh, [], 0
        return fresh


def _memory(ballot: Ballot) -> int:
    return ballot.held + WANT_BYTES * len(ballot.wanted)


class Votes:
    """Invariant: at most one ballot an id, the one of its latest attempt."""

    def __init__(self, record_bytes_max: int, transaction_bytes_max: int, memory_bytes_max: int = 2**30) -> None:
        self._record_bytes_max = record_bytes_max
        self._transaction_bytes_max = transaction_bytes_max
        self._memory_bytes_max = memory_bytes_max
        #: Bytes of the records of all ballots, and what all ballots take of memory.
        self.size = self.held = 0
        self._ballots: dict[TransactionId, Ballot] = {}
        self._fences: OrderedDict[TransactionId, int] = OrderedDict()

    def collect(self, id: TransactionId, attempt: int, session: Hashable, wanted: Iterable[Wanted]) -> Ballot | None:
        """Add writes to an attempt; the ballot of an earlier attempt that this one replaces, if any.

        Raises BadRequest for an attempt that was refused or is past its vote, TooLarge above a limit, and
        VoteTimedOut while too much is being voted already.
        """
        replaced = self._open(id, attempt, session)
        ballot = self._ballots[id]
        if ballot.phase not in (Phase.COLLECTING, Phase.CONFLICTED):
            raise BadRequest(f"transaction {id.hex()} is {ballot.phase.value}: it takes no more writes")
        size, held = ballot.size, _memory(ballot)
        try:
            for want in wanted:
                if want.data is not None and len(want.data) > self._record_bytes_max:
                    raise TooLarge(
                        f"the record of oid {want.oid.hex()} has {want.size:,} bytes; this cluster takes at most "
                        f"{self._record_bytes_max:,} (record_bytes_max): keep large data in blobs or several objects"
                    )
                ballot.put(want)
        finally:
            self.size += ballot.size - size
            self.held += _memory(ballot) - held
        if ballot.size > self._transaction_bytes_max:
            raise TooLarge(
                f"transaction {id.hex()} has more than {self._transaction_bytes_max:,} bytes "
                "(transaction_bytes_max): commit in smaller steps"
            )
        if _memory(ballot) > self._memory_bytes_max:
            raise TooLarge(
                f"transaction {id.hex()} is about {len(ballot.wanted):,} objects and more, too many for this node's "
                "memory: commit in smaller steps"
            )
        if self.held > self._memory_bytes_max:
            raise VoteTimedOut(f"transactions that take {self.held:,} bytes are under way: wait a little")
        return replaced

    def move(self, ballot: Ballot, file: File) -> list[Wanted]:
        """``Ballot.move``."""
        held = _memory(ballot)
        fresh = ballot.move(file)
        self.held += _memory(ballot) - held
        return fresh

    def _open(self, id: TransactionId, attempt: int, session: Hashable) -> Ballot | None:
        if attempt <= self._fences.get(id, 0):
            raise BadRequest(f"attempt {attempt} of transaction {id.hex()} was given up: vote under a new attempt")
        ballot = self._ballots.get(id)
        if ballot is not None and ballot.attempt == attempt and ballot.session == session:
            return None
        if ballot is not None and (ballot.attempt >= attempt or ballot.phase is Phase.FINISHING):
            raise BadRequest(f"transaction {id.hex()} has an attempt {ballot.attempt} that is {ballot.phase.value}")
        if len(self._ballots) >= BALLOTS_OF_SESSION_MAX and len(self.of_session(session)) >= BALLOTS_OF_SESSION_MAX:
            raise BadRequest(f"this session votes on {BALLOTS_OF_SESSION_MAX} transactions already")
        if ballot is not None:
            self.drop(ballot)
        self._ballots[id] = Ballot(id, attempt, session)
        return ballot

    def open(self, id: TransactionId, attempt: int, session: Hashable) -> tuple[Ballot, Ballot | None]:
        """The ballot of this attempt, made if need be, and the earlier one it replaces."""
        replaced = self._open(id, attempt, session)
        return self._ballots[id], replaced

    def find(self, id: TransactionId, attempt: int) -> Ballot | None:
        ballot = self._ballots.get(id)
        return ballot if ballot is not None and ballot.attempt == attempt else None

    def voted(self, id: TransactionId, attempt: int) -> Ballot:
        """The ballot that may be finished; BadRequest where there is none."""
        ballot = self.find(id, attempt)
        if ballot is None or ballot.phase is not Phase.VOTED:
            raise BadRequest(f"transaction {id.hex()} attempt {attempt} is not voted here: ask for its outcome")
        return ballot

    def drop(self, ballot: Ballot) -> None:
        if self._ballots.get(ballot.id) is ballot:
            del self._ballots[ballot.id]
            self.size -= ballot.size
            self.held -= _memory(ballot)

    def fence(self, id: TransactionId, attempt: int) -> Ballot | None:
        """From now on attempts up to ``attempt`` are refused.

        Returns the ballot this gives up, if any; one that is finishing stays, its fate is in the log.
        """
        self._fences[id] = max(attempt, self._fences.pop(id, 0))
        while len(self._fences) > FENCES_MAX:
            self._fences.popitem(last=False)
        ballot = self._ballots.get(id)
        if ballot is None or ballot.attempt > attempt or ballot.phase is Phase.FINISHING:
            return None
        self.drop(ballot)
        return ballot

    def all(self) -> list[Ballot]:
        return list(self._ballots.values())

    def latest(self, id: TransactionId) -> Ballot | None:
        return self._ballots.get(id)

    def finishing(self, id: TransactionId) -> bool:
        ballot = self._ballots.get(id)
        return ballot is not None and ballot.phase is Phase.FINISHING

    def of_session(self, session: Hashable) -> list[Ballot]:
        """What a session leaves behind when it ends: all but what is already in the log."""
        return [b for b in self._ballots.values() if b.session == session and b.phase is not Phase.FINISHING]

    def voted_on(self) -> list[Ballot]:
        """Those that may be finished, and are not in the log."""
        return [b for b in self._ballots.values() if b.phase in (Phase.VOTED, Phase.HELD)]

    def hanging(self, before: float) -> list[Ballot]:
        """Ballots of which nothing was heard since ``before``, and whose turn it is to say something."""
        waited_for = (Phase.COLLECTING, Phase.CONFLICTED, Phase.VOTED)
        return [b for b in self._ballots.values() if b.phase in waited_for and b.touched_at < before]

    def __len__(self) -> int:
        return len(self._ballots)
