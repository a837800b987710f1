"""Voting and finishing: the shell around ``transaction``.

A vote that is lost with its session is repeated elsewhere, as a new attempt. A
Finish is sent once; what became of it, if its answer is lost, is asked of the
next primary. See DESIGN section 4.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol, TypeVar

from ZODB.POSException import ConflictError, ReadConflictError, StorageTransactionError

from springtide.client import messages
from springtide.client import transaction as tx
from springtide.client.cluster import Cluster
from springtide.client.errors import (
    ClusterUnavailable,
    CommitOutcomeUnknown,
    NodeFailed,
    NotCommitted,
    Refused,
    SessionLost,
    translated,
)
from springtide.client.events import Ticket
from springtide.client.gathering import Gathered
from springtide.client.pending import Gathering, Pending
from springtide.client.session import Session
from springtide.client.undoing import Ask
from springtide.client.view import View
from springtide.records.ids import TID_ZERO, Oid, Tid, TransactionId
from springtide.wire.v1 import session_pb2 as wire

T = TypeVar("T")

#: The primary holds the locks while we resolve, so one round settles it; more would mean a bug.
RESOLVING_ROUNDS_MAX = 3
#: A primary that was sent what it lacks and lacks it again is no use.
SUPPLYING_ROUNDS_MAX = 2
#: So many primaries may be lost while they are sent files before that counts against the deadline.
SUPPLYING_ATTEMPTS_MAX = 4
#: After so long without an answer the other nodes are asked whether someone else leads.
IMPATIENT_SECONDS = 1.0

#: What the slowest network and disks that are not called broken take in.
BYTES_PER_SECOND_MIN = 5 * 2**20

Callback = Callable[[Tid], object]


class Resolver(Protocol):
    def __call__(self, oid: Oid, committed: Tid, serial: Tid, data: bytes, committed_data: bytes) -> bytes:
        """The resolved record; ``ConflictError`` if there is none."""

    def references(self, data: bytes) -> bytes | None:
        """What a record refers to, where nodes cannot read it."""


UndoAgain = Callable[[tx.Write, Tid, Ask], tx.Write]


class Blobs(Protocol):
    """The files of a transaction; see ``blobs.writing``."""

    def supply(self, session: Session, begun: tx.Begun, missing: Collection[bytes] | None) -> None: ...
    def patience(self, begun: tx.Begun) -> float: ...
    def place(self, begun: tx.Begun, tid: Tid) -> None: ...


class Commits:
    def __init__(
        self,
        cluster: Cluster,
        view: View,
        resolve: Resolver,
        undo_again: UndoAgain,
        vote_timeout: float,
        finish_timeout: float,
        blobs: Blobs | None = None,
    ) -> None:
        self.cluster = self._cluster = cluster
        self._view = view
        self._resolve = resolve
        self._blobs = blobs
        self._undo_again = undo_again
        self._vote_timeout = vote_timeout
        self._finish_timeout = finish_timeout

    # -- vote ---------------------------------------------------------------------------------------

    def vote(self, begun: tx.Begun) -> tuple[tx.Voted, Session]:
        if self._view.mine:
            raise StorageTransactionError("a transaction cannot be committed from within tpc_finish's callback")
        return self._vote(begun, time.monotonic() + self._vote_timeout + _moving(begun))

    def _vote(self, begun: tx.Begun, deadline: float) -> tuple[tx.Voted, Session]:
        """Vote until a primary takes it, or refuses for good, or the deadline."""
        failure: Exception | None = None
        while True:
            if (begun.buffer.files or _moving(begun) > 1) and begun.attempt <= SUPPLYING_ATTEMPTS_MAX:
                # Sending them takes the time it takes, and a node that was lost meanwhile is no fault of theirs.
                deadline = max(deadline, time.monotonic() + self._vote_timeout + _moving(begun))
            try:
                session = self._cluster.primary(deadline)
            except ClusterUnavailable as unavailable:
                raise (ClusterUnavailable(f"{unavailable} (last: {failure})") if failure else unavailable) from None
            try:
                return self._vote_on(session, begun, deadline), session
            except SessionLost as lost:
                failure = lost
            except Refused as refusal:
                session.tell([messages.abort(begun, last=not refusal.elsewhere)])
                if not refusal.elsewhere:
                    raise translated(refusal) from None
                failure = refusal
                self._cluster.redirected(session, refusal.primary)
            except BaseException:
                session.tell([messages.abort(begun, last=True)])
                raise
            begun = tx.again(begun)
            self._cluster.pause(deadline)

    def _vote_on(self, session: Session, begun: tx.Begun, deadline: float) -> tx.Voted:
        if begun.attempt == 1:
            deadline = self._supply(session, begun, None, deadline)
        resolved: dict[Oid, bytes | None] = {}
        writes: Iterable[tx.Write] = begun.buffer.all()
        for _ in range(RESOLVING_ROUNDS_MAX + SUPPLYING_ROUNDS_MAX):
            pending = self._send(session, messages.voting(begun, writes), deadline)
            answer = self._patiently(pending, deadline, session, "voting")
            if answer.missing_blobs:
                deadline = self._supply(session, begun, answer.missing_blobs, deadline)
                writes = ()
                continue
            conflicts = messages.conflicts(answer)
            if not conflicts:
                return tx.voted(begun, answer.epoch, resolved)
            writes = self._resolved(begun, conflicts, session, deadline)
            resolved.update((write.oid, begun.buffer.record(write)) for write in writes)
        raise ConflictError("conflict resolution came to no end")

    def _send(self, session: Session, told: Iterable[wire.ClientMessage], deadline: float) -> Pending[Any]:
        """Send messages of which the last one is answered, no faster than the node takes them."""
        last: wire.ClientMessage | None = None
        for message in told:
            if last is not None:
                while not session.wait_for_room(min(IMPATIENT_SECONDS, deadline - time.monotonic())):
                    if time.monotonic() >= deadline:
                        raise ClusterUnavailable(f"node {session.node} did not take a transaction's records in time")
                    self._cluster.look_around()
                session.tell((last,))
            last = message
        assert last is not None, "there is something to ask"
        return session.ask(last)

    def _supply(self, session: Session, begun: tx.Begun, missing: Collection[bytes] | None, deadline: float) -> float:
        """Send the files of the transaction; the deadline from then on. While they move, no deadline counts."""
        if self._blobs is None or not (begun.buffer.files or missing):
            if missing:
                raise NodeFailed(f"node {session.node} lacks a blob that this storage, without a blob_dir, cannot send")
            return deadline
        self._blobs.supply(session, begun, missing)
        return max(deadline, time.monotonic() + self._vote_timeout + self._blobs.patience(begun))

    def _resolved(
        self, begun: tx.Begun, conflicts: tuple[tx.Conflict, ...], session: Session, deadline: float
    ) -> list[tx.Write]:
        """Every conflicting write, made anew on what is committed; ConflictError or UndoError if one cannot be."""
        hopeless = tx.unresolvable(begun, conflicts)
        if hopeless is not None:
            raise _conflict_error(begun, hopeless)
        made = []
        for conflict in conflicts:
            write = begun.buffer.writes[conflict.oid]
            if write.kind is tx.Kind.UNDO:
                made.append(self._undone_again(write, conflict, session, deadline))
                continue
            assert conflict.committed is not None
            data = self._resolve(
                conflict.oid, conflict.committed, write.serial, begun.buffer.record(write) or b"", conflict.data
            )
            references = self._resolve.references(data)
            made.append(tx.Write(conflict.oid, conflict.committed, tx.Kind.STORE, data, None, references))
        return made

    def _undone_again(self, write: tx.Write, conflict: tx.Conflict, session: Session, deadline: float) -> tx.Write:
        def ask(make: Callable[[], wire.ClientMessage]) -> Gathered:
            gathering = Gathering()
            done = self._patiently(session.ask(make(), gathering), deadline, session, "undoing again")
            return gathering.parts, done

        return self._undo_again(write, conflict.committed or TID_ZERO, ask)

    def _patiently(self, pending: Pending[T], deadline: float, session: Session, doing: str) -> T:
        """Wait for the primary; look for another one meanwhile, in case it is cut off from its cluster."""
        while True:
            try:
                return pending.wait(min(IMPATIENT_SECONDS, deadline - time.monotonic()))
            except TimeoutError:
                if time.monotonic() >= deadline:
                    raise ClusterUnavailable(f"node {session.node} did not answer in time while {doing}") from None
                self._cluster.look_around()

    def abort(self, begun: tx.Begun, session: Session) -> None:
        if session.alive:
            session.tell([messages.abort(begun, last=True)])

    # -- finish -------------------------------------------------------------------------------------

    def finish(self, vote: tx.Voted, session: Session, callback: Callback) -> Tid:
        """Commit it, and show it here. Never fails as transient, but for a ConflictError."""
        deadline = time.monotonic() + self._finish_timeout + _moving(vote.begun)
        while True:
            ticket = Ticket(tuple(vote.begun.buffer.writes))
            try:
                settled = self._finish_on(session, vote, ticket, deadline)
            except BaseException:  # this thread is interrupted, and may have been handed the turn
                self._view.overlook(ticket)
                raise
            if isinstance(settled, tx.Done):
                return self._show(vote, settled.tid, ticket, callback, deadline)
            if isinstance(settled, tx.Unknown):
                raise _unknown(vote, settled.reason)
            try:
                vote, session = self._vote(settled, deadline)
            except ConflictError as conflict:
                if type(conflict) in (ConflictError, ReadConflictError):
                    raise
                raise NotCommitted(f"nothing was committed: {conflict}") from conflict
            except Exception as error:
                raise NotCommitted(f"nothing was committed, the transaction can be repeated: {error}") from error

    def _finish_on(
        self, session: Session, vote: tx.Voted, ticket: Ticket, deadline: float
    ) -> tx.Done | tx.Begun | tx.Unknown:
        if not session.alive:
            return tx.again(vote)  # its locks are gone, and no Finish was sent: nothing to ask
        finishing = tx.finishing(vote)
        pending = session.ask_finish(messages.finish(vote), ticket)
        while True:
            try:
                tid = pending.wait(min(IMPATIENT_SECONDS, deadline - time.monotonic()))
                assert tid is not None
                return tx.Done(tid)
            except (SessionLost, Refused):
                break
            except TimeoutError:
                if time.monotonic() < deadline:
                    self._cluster.look_around()
                elif self._view.give_up(ticket):
                    return tx.Unknown(f"node {session.node} did not answer within {self._finish_timeout:g} s")
        try:
            outcome = self.ask(vote.begun.id, vote.begun.attempt, vote.epoch, deadline)
        except Exception as error:  # whatever keeps us from knowing, nothing transient may leave a finish
            return tx.Unknown(str(error))
        return tx.settle(finishing, outcome)

    def _show(self, vote: tx.Voted, tid: Tid, ticket: Ticket, callback: Callback, deadline: float) -> Tid:
        """Everything before ``tid`` first, then our own, in one go with ZODB's callback.

        Where nobody tells in time what was before it, it is shown when somebody does.
        """
        view = self._view
        if self._blobs is not None:
            self._blobs.place(vote.begun, tid)
        seen = ticket.handed or view.wait_for(tid, max(0.0, deadline - time.monotonic()))
        buffer = vote.begun.buffer
        with view.turn(ticket):
            if not seen and view.last is not None and view.last < tid:
                view.owe(tid, callback, buffer.writes)
                return tid
            written = {write.oid: vote.data(write) for write in buffer.writes.values()}
            view.commit(tid, callback, written, buffer.writes, vote.late)
        return tid

    def outcome(self, transaction: TransactionId, attempt: int, epoch: int) -> tx.Outcome:
        return self.ask(transaction, attempt, epoch, time.monotonic() + self._vote_timeout)

    # -- outcomes -----------------------------------------------------------------------------------

    def ask(self, transaction: TransactionId, attempt: int, epoch: int, deadline: float) -> tx.Outcome:
        """What became of it; ClusterUnavailable if nobody who must know can be reached in time."""
        while True:
            session = self._cluster.primary(deadline)
            try:
                pending: Pending[Any] = session.ask(messages.ask_outcome(transaction, attempt, epoch))
                return messages.outcome(self._patiently(pending, deadline, session, "asking for an outcome"))
            except SessionLost:
                pass
            except Refused as refusal:
                if time.monotonic() >= deadline:
                    raise ClusterUnavailable(str(refusal)) from None
                self._cluster.redirected(session, refusal.primary)
            self._cluster.pause(deadline)


def _moving(begun: tx.Begun) -> float:
    """Seconds that the slowest machines need for its records, which no timeout of a user's counts in.

    They move twice before a vote is answered: to the primary, and from there to the others.
    """
    return 2 * begun.buffer.data_bytes / BYTES_PER_SECOND_MIN


def _unknown(vote: tx.Voted, reason: str) -> CommitOutcomeUnknown:
    return CommitOutcomeUnknown(
        f"transaction {vote.begun.id.hex()} may or may not have been committed: {reason}."
        " Ask storage.outcome(error.transaction_id) before repeating it",
        vote.begun.id,
        vote.epoch,
    )


def _conflict_error(begun: tx.Begun, conflict: tx.Conflict) -> ConflictError:
    committed = conflict.committed or TID_ZERO
    write = (begun.buffer.checks if conflict.read_check else begun.buffer.writes).get(conflict.oid)
    serials = (committed, write.serial if write is not None else conflict.serial)
    if conflict.read_check:
        return ReadConflictError(oid=conflict.oid, serials=serials)
    return ConflictError(oid=conflict.oid, serials=serials, data=(write and begun.buffer.record(write)) or None)
