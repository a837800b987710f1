"""One primary's reign: it orders transactions, appends them, and says when they are committed.

A ``Reign`` lives in one epoch and one event loop. Leaving it, for whatever reason,
leaves everything that was voted in it without effect: what is in the log is the
next primary's to commit, what is not in the log never will be.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from springtide import errors
from springtide.ahead import Ahead
from springtide.primary import clocks, tids
from springtide.primary.leadership import Settings
from springtide.primary.oids import Oids
from springtide.primary.packing import OpenMarker, Packing
from springtide.primary.ports import Committed, Disk
from springtide.primary.spooled import Spooled
from springtide.primary.votes import ORDER, Ballot, Phase
from springtide.primary.voting import Voting
from springtide.records import entries
from springtide.records.digests import Body
from springtide.records.entries import Kind, OidRange
from springtide.records.forget import began
from springtide.records.ids import Member, Tid, TransactionId, number

log = logging.getLogger(__name__)


class Reign(Voting):
    """Invariants: tids grow with the lsn; a ballot in phase FINISHING is in the log."""

    def __init__(
        self,
        disk: Disk,
        me: Member,
        epoch: int,
        uptime: str,
        required: Iterable[frozenset[Member]],
        minimum: int,
        settings: Settings,
        wall: Callable[[], float],
        committed: Callable[[Sequence[Committed]], None],
        open_marker: OpenMarker | None = None,
    ) -> None:
        """``wall`` gives seconds since 1970; ``committed`` is told of every commit, in order, as it happens.

        ``open_marker`` finds out what packs take away.
        """
        self._wall = wall
        #: What an operator must look at, while commits go on.
        self.alarm: str | None = None
        self._held: list[Ballot] = []  # finishes that wait for their turn
        self._holding = False
        self._oids = Oids()
        self.packing = Packing(self, open_marker)
        super().__init__(disk, me, epoch, uptime, required, minimum, settings, committed)

    def committed(self, done: Sequence[Committed]) -> None:
        self._last_tid = max(self._last_tid, self.disk.commit_tid)
        self._oids.used(self.disk.last_oid)
        for entry in done:
            if entry.transaction is not None:
                ballot = self._votes.latest(entry.transaction.id)
                if ballot is not None and ballot.phase is Phase.FINISHING:
                    self._votes.drop(ballot)
                    self._drop_body(ballot)
                    self._release(ballot)

    async def _check_garbage(self, ballot: Ballot) -> None:
        if self.packing.concerns(ballot.id):
            await self.packing.check(ballot)
            self._check_there(ballot)

    # -- transactions -------------------------------------------------------------------------

    def finish(self, id: TransactionId, attempt: int, epoch: int, given_up: Callable[[], None]) -> None:
        """Append a voted transaction, now or when it is its turn; the commit shows in ``committed``.

        ``given_up`` is called if it does not come to that. Raises BadRequest or NotPrimary where it cannot be.
        """
        self.check_leading()
        if epoch != self.epoch:
            raise errors.BadRequest(f"that vote belongs to epoch {epoch}, this is {self.epoch}")
        ballot = self._votes.voted(id, attempt)
        ballot.given_up = given_up
        if self._holding or self._held_back(ballot):
            ballot.phase = Phase.HELD
            self._held.append(ballot)
        else:
            self._finish(ballot)

    def _held_back(self, ballot: Ballot) -> bool:
        """Whether a transaction with a given tid is under way, which must come first."""
        return ballot.ticket.tid is None and self._locks.holds(ORDER)

    def _finish(self, ballot: Ballot) -> None:
        tid = ballot.ticket.tid or tids.following(self._last_tid, self._time())
        if tid <= self._last_tid:
            raise self.broken("R11", f"tid {tid.hex()} would follow {self._last_tid.hex()}")
        if self.disk.outcome(ballot.id) is not None:
            raise self.broken("I7", f"transaction {ballot.id.hex()} would be committed a second time")
        body: Body
        ahead: Ahead | None = None
        if isinstance(ballot.file, Spooled):
            ahead = ballot.file.whole(tid)
            body, highest, ballot.file = ahead.bytes, ballot.file.highest, None
        else:
            transaction = ballot.transaction(tid)
            body = entries.encode_transaction(transaction)
            highest = max([number(write.oid) for write in transaction.writes], default=0)
        self._last_tid = tid
        self._oids.used(highest)
        ballot.phase = Phase.FINISHING
        self.append(Kind.TRANSACTION, body, ahead)

    def _time(self) -> float:
        """Seconds since 1970, by a clock that is not far ahead of the others'."""
        own, now = self._wall(), asyncio.get_running_loop().time()
        others = [at + now - heard for at, heard in (p.clock for p in self.followers.values() if p.clock is not None)]
        used = clocks.reading(own, others, self.settings.clock_ahead_max_seconds)
        former, self.alarm = self.alarm, None
        if used != own:
            self.alarm = (
                f"the clock of this node is ahead of most others' by {own - used:.0f} s, and is not used: "
                "set it right (clock_ahead_max_seconds)"
            )
            if former is None:
                log.error("node %s: %s", self.me.node, self.alarm)
        return used

    def _finish_held(self) -> None:
        if self._holding or self.ended.done():
            return
        held, self._held = self._held, []
        for ballot in held:
            if ballot.phase is not Phase.HELD:
                continue
            if self._held_back(ballot):
                self._held.append(ballot)
            else:
                self._finish(ballot)

    def _released(self) -> None:
        self._finish_held()

    async def outcome(self, id: TransactionId, attempt: int, epoch: int) -> Tid | None:
        """The tid of the committed transaction, or None: it is not committed and attempts so far never will be.

        Raises NotPrimary where this primary may not say: its epoch is older than that of the finish. Raises
        OutcomeUnknown where the id is so old that it may have been committed and forgotten.
        """
        if epoch > self.epoch:
            raise errors.NotPrimary(f"that finish was sent in epoch {epoch}; this node knows {self.epoch}")
        await self.until(lambda: self.commits.established)
        given_up = self._votes.fence(id, attempt)
        if given_up is not None:
            self._give_up(given_up)
        await self.until(lambda: not self._votes.finishing(id))
        tid = self.disk.outcome(id)
        if tid is None and began(id) < self.disk.forgotten:
            raise errors.OutcomeUnknown(
                f"transaction {id.hex()} began before {self.disk.forgotten.hex()}, and what became of transactions as "
                "old as that is forgotten (outcomes_kept_seconds)"
            )
        return tid

    async def oids(self, count: int) -> OidRange:
        """A range of oids that nobody else was or will be given, committed before it is returned."""
        await self.until_open(asyncio.get_running_loop().time() + self.settings.vote_wait_seconds)
        await self.until(lambda: not self._holding)
        given = self._oids.take(count)
        entry = self.append(Kind.OIDS, entries.encode_oid_range(given))
        await self.until(lambda: self.commits.commit >= entry.lsn)
        return given

    # -- for packs ----------------------------------------------------------------------------

    @property
    def last_lsn(self) -> int:
        return self.last.lsn

    async def until_committed(self, lsn: int) -> None:
        await self.until(lambda: self.commits.commit >= lsn)

    async def until_followers_applied(self, lsn: int, seconds: float) -> None:
        """Wait until everything through ``lsn`` is applied at the in-sync followers that are there, or for so long."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self.until(
                    lambda: all(
                        follower.applied >= lsn
                        for member, follower in self.followers.items()
                        if member in self.commits.required
                    )
                )

    async def until_appending(self) -> None:
        await self.until(lambda: not self._holding)

    def ballots(self) -> list[Ballot]:
        """What has been voted and is not in the log."""
        return self._votes.voted_on()

    # -- handing over -------------------------------------------------------------------------

    async def quiesce(self, target: Member) -> None:
        """Stop appending, and wait until ``target`` holds the whole log and all of it is committed."""
        self._holding = True
        await self.until(lambda: self.commits.commit >= self.last.lsn and self.commits.acked(target) >= self.last.lsn)

    def resume(self) -> None:
        """The hand-over did not happen: go on appending."""
        self._holding = False
        self.changed.notify()
        self._finish_held()
