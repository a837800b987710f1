"""One primary's votes: writes arrive, objects are locked, conflicts are found, files are waited for.

The part of a reign that comes before a transaction is in the log. What is voted and
not finished is gone with the reign: ``primary.reign`` puts into the log what lasts.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Hashable, Iterable, Sequence

from springtide import errors
from springtide.primary.conflicts import Conflict, Intent, Wanted, conflicts
from springtide.primary.files import BYTES_PER_SECOND_MIN, patience_seconds
from springtide.primary.leadership import Leadership, Settings
from springtide.primary.locks import Locks
from springtide.primary.ports import Committed, Disk
from springtide.primary.spooled import Spooled
from springtide.primary.votes import Ballot, Phase, Ticket, Voted, Votes
from springtide.records.forget import began
from springtide.records.ids import TID_ZERO, Member, TransactionId
from springtide.spool import SPOOLED_FROM

#: Serials of a transaction larger than this are looked up outside the event loop.
LOOKUPS_ON_LOOP_MAX = 500


class Voting(Leadership):
    """Invariants: locks are held from the vote to the commit or the abort; a ballot FINISHING is in the log."""

    def __init__(
        self,
        disk: Disk,
        me: Member,
        epoch: int,
        uptime: str,
        required: Iterable[frozenset[Member]],
        minimum: int,
        settings: Settings,
        committed: Callable[[Sequence[Committed]], None],
    ) -> None:
        """``committed`` is told of every commit, in order, as it happens."""
        self._votes = Votes(settings.record_bytes_max, settings.transaction_bytes_max, settings.memory_bytes_max)
        self._locks = Locks()
        self._waiting: dict[Hashable, asyncio.Future[None]] = {}
        self._last_tid = TID_ZERO
        self._numbers = itertools.count(1)  # of bodies
        super().__init__(disk, me, epoch, uptime, required, minimum, settings, committed)

    async def _check_garbage(self, ballot: Ballot) -> None:
        """Raises Collected where what ``ballot`` refers to was taken by a pack under way."""

    def _released(self) -> None:
        """Locks were given back."""

    def end(self, reason: str) -> None:
        super().end(reason)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(errors.NotPrimary(f"this node is no longer the primary: {reason}"))

    # -- writes arrive ------------------------------------------------------------------------

    def collect(self, id: TransactionId, attempt: int, session: Hashable, wanted: Iterable[Wanted]) -> None:
        """Writes of an attempt arrive. Raises BadRequest, or TooLarge or VoteTimedOut: the attempt is then gone."""
        try:
            replaced = self._votes.collect(id, attempt, session, wanted)
        except (errors.TooLarge, errors.VoteTimedOut):
            self.abort(id, attempt)
            raise
        if replaced is not None:
            self._give_up(replaced)
        ballot = self._votes.find(id, attempt)
        assert ballot is not None, "it has just collected"
        ballot.touched_at = asyncio.get_running_loop().time()

    def overflows(self, id: TransactionId, attempt: int) -> bool:
        """Whether it is time to ``spool`` what an attempt holds in memory."""
        ballot = self._votes.find(id, attempt)
        return ballot is not None and ballot.held > (SPOOLED_FROM if ballot.file is None else SPOOLED_FROM // 2)

    async def spool(self, id: TransactionId, attempt: int) -> None:
        """Move what an attempt holds in memory to the disk; nothing is collected for it meanwhile.

        Raises NoSpace, BadRequest or NotPrimary: the attempt is then gone.
        """
        ballot = self._votes.find(id, attempt)
        if ballot is not None and ballot.phase in (Phase.COLLECTING, Phase.CONFLICTED):
            try:
                await self._spool(ballot)
            except BaseException:
                self.abort(id, attempt)
                raise
            ballot.touched_at = asyncio.get_running_loop().time()

    async def _spool(self, ballot: Ballot) -> None:
        room = self.disk.headroom_bytes()
        if room < self.settings.min_free_bytes + ballot.held:
            raise self.no_space(str(self.me.node), room, ballot.size, self._votes.size)
        file = ballot.file or Spooled(self.disk.stage)
        assert isinstance(file, Spooled), "nobody else gives ballots files"
        await asyncio.to_thread(file.add, self._votes.move(ballot, file))
        self._check_there(ballot)

    # -- the vote -----------------------------------------------------------------------------

    async def vote(self, id: TransactionId, attempt: int, session: Hashable, ticket: Ticket, count: int) -> Voted:
        """Lock, check, answer. ``count`` is how many writes the client sent.

        Raises BelowMinimum, VoteTimedOut or NotPrimary (try again), BadRequest, TooLarge or NoSpace (do not).
        """
        deadline = asyncio.get_running_loop().time() + self.settings.vote_wait_seconds
        await self.until_open(deadline)
        already = self.disk.outcome(id)
        if already is not None:
            raise errors.BadRequest(f"transaction {id.hex()} is committed already, as {already.hex()}")
        if began(id) < self.disk.forgotten:
            # Had it been committed before, nobody would know; and if its answer is lost, nobody could tell.
            raise errors.VoteTimedOut(
                f"transaction {id.hex()} began before {self.disk.forgotten.hex()}: what became of transactions as old "
                "as that is forgotten (outcomes_kept_seconds), so it must be begun anew"
            )
        ballot, replaced = self._votes.open(id, attempt, session)
        if replaced is not None:
            self._give_up(replaced)
        if ballot.phase not in (Phase.COLLECTING, Phase.CONFLICTED):
            raise errors.BadRequest(f"transaction {id.hex()} is {ballot.phase.value} already")
        first, ballot.phase = ballot.phase is Phase.COLLECTING, Phase.LOCKING  # nobody adds to it or votes meanwhile
        try:
            self.check_space(self._votes.size, ballot.size, sum(named.blob.size for named in ballot.files()))
            if len(ballot.wanted) != count:
                raise errors.BadRequest(f"{len(ballot.wanted)} writes arrived of {count}")
            missing = await self._gather_files(ballot, deadline)
            if missing:
                ballot.phase = Phase.COLLECTING if first else Phase.CONFLICTED
                ballot.touched_at = asyncio.get_running_loop().time()
                return Voted(self.epoch, (), missing)
            deadline = max(deadline, asyncio.get_running_loop().time() + self.settings.vote_wait_seconds)
            if ballot.held > SPOOLED_FROM or ballot.fresh:
                await self._spool(ballot)
            if first:
                ballot.ticket = ticket
                ballot.claimed = ballot.locks()
                await self._lock(ballot, deadline)
            elif ballot.locks() != ballot.claimed:
                raise errors.BadRequest(f"transaction {id.hex()} resolves conflicts of objects that it did not vote on")
            if ticket.tid is not None and ticket.tid <= self._last_tid:
                raise errors.BadRequest(
                    f"tid {ticket.tid.hex()} is not above the last one, {self._last_tid.hex()}: "
                    "transactions are copied in order, into an empty or older database"
                )
            if ticket.undoes is not None and ticket.undoes <= self.disk.packed:
                raise errors.Packed(
                    f"transaction {ticket.undoes.hex()} cannot be undone: the database was packed up to "
                    f"{self.disk.packed.hex()}"
                )
            found = await self._conflicts(ballot)
            if isinstance(ballot.file, Spooled) and not found:
                await self._send_ahead(ballot, ballot.file)
            if not found:
                await self._check_garbage(ballot)
        except BaseException:
            self._give_up(ballot)
            raise
        ballot.phase = Phase.CONFLICTED if found else Phase.VOTED
        ballot.touched_at = asyncio.get_running_loop().time()
        return Voted(self.epoch, tuple(found))

    async def _gather_files(self, ballot: Ballot, deadline: float) -> tuple[bytes, ...]:
        """Wait until the in-sync followers hold the files of ``ballot``; ids of those that are not even here.

        Before locks are taken: others need not wait for files. Raises VoteTimedOut.
        """
        names = ballot.files()
        if not names:
            return ()
        lacking = await self.lacking(names)
        if lacking or ballot.phase is Phase.GIVEN_UP:
            self._check_there(ballot)
            return tuple(named.blob.id for named in lacking)
        self.announced.add(names)
        self.wake()
        try:
            async with asyncio.timeout_at(deadline + patience_seconds(names)):
                await self.until(lambda: self.followers_hold(names) or ballot.phase is Phase.GIVEN_UP)
        except TimeoutError:
            raise errors.VoteTimedOut(
                f"the in-sync nodes did not copy the {len(names)} blobs of {ballot.id.hex()} in time"
            ) from None
        finally:
            self.announced.drop(names)
        self._check_there(ballot)
        return ()

    async def _send_ahead(self, ballot: Ballot, file: Spooled) -> None:
        """Wait until the in-sync followers have what ``ballot`` writes: finishes wait for no more than heads.

        Its locks are held: what it writes is known only now. Raises VoteTimedOut.
        """
        ballot.body = b"".join(number.to_bytes(8, "big") for number in (self.epoch, next(self._numbers)))
        writes = sum(want.intent is not Intent.CHECK for want in ballot.wanted.values())
        about = ballot.about(TID_ZERO)
        body = await asyncio.to_thread(file.seal, ballot.body, about, writes, len(ballot.files()))
        self._check_there(ballot)
        self.bodies.add(body)
        self.wake()
        try:
            async with asyncio.timeout(self.settings.vote_wait_seconds + len(body.bytes) / BYTES_PER_SECOND_MIN):
                await self.until(lambda: self.followers_have(body.id) or ballot.phase is Phase.GIVEN_UP)
        except TimeoutError:
            raise errors.VoteTimedOut(
                f"the in-sync nodes did not take the {len(body.bytes):,} bytes of {ballot.id.hex()} in time"
            ) from None
        self._check_there(ballot)

    def _drop_body(self, ballot: Ballot) -> None:
        if ballot.body:
            self.bodies.drop(ballot.body)
            self.wake()

    def _check_there(self, ballot: Ballot) -> None:
        self.check_leading()
        if self._votes.find(ballot.id, ballot.attempt) is not ballot:
            raise errors.BadRequest(f"transaction {ballot.id.hex()} was given up during its vote")

    def touch(self, id: TransactionId) -> None:
        """Something of this transaction is on its way: it does not hang."""
        ballot = self._votes.latest(id)
        if ballot is not None:
            ballot.touched_at = asyncio.get_running_loop().time()

    def named_blobs(self) -> set[bytes]:
        """Ids of the files that votes under way name."""
        return {named.blob.id for ballot in self._votes.all() for named in ballot.files()}

    async def _lock(self, ballot: Ballot, deadline: float) -> None:
        if self._locks.take(ballot, ballot.claimed):
            return
        waiting = self._waiting[ballot] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout_at(deadline):
                await waiting
        except TimeoutError:
            raise errors.VoteTimedOut(
                f"other transactions held objects of {ballot.id.hex()} for {self.settings.vote_wait_seconds:g} s"
            ) from None
        finally:
            self._waiting.pop(ballot, None)

    async def _conflicts(self, ballot: Ballot) -> list[Conflict]:
        wanted = list(ballot.wanted.values())
        if len(wanted) <= LOOKUPS_ON_LOOP_MAX:
            found = conflicts(wanted, self.disk.current)
        else:
            found = await asyncio.to_thread(conflicts, wanted, self.disk.current)
        self._check_there(ballot)
        return found

    # -- giving up ----------------------------------------------------------------------------

    def abort(self, id: TransactionId, attempt: int) -> None:
        """Give a ballot up, unless it is in the log already."""
        ballot = self._votes.find(id, attempt)
        if ballot is not None and ballot.phase is not Phase.FINISHING:
            self._give_up(ballot)

    def session_ended(self, session: Hashable) -> None:
        """Nobody can finish what this session left: its locks are released."""
        for ballot in self._votes.of_session(session):
            self._give_up(ballot)

    def drop_hanging(self, now: float) -> None:
        """Abort what was begun and neither finished nor aborted in time."""
        for ballot in self._votes.hanging(now - self.settings.transaction_timeout_seconds):
            self._give_up(ballot)

    def _give_up(self, ballot: Ballot) -> None:
        """It is not in the log, and never will be."""
        if ballot.phase is Phase.FINISHING:
            raise self.broken("I7", f"transaction {ballot.id.hex()} would be given up, and is in the log")
        ballot.phase = Phase.GIVEN_UP
        self._votes.drop(ballot)
        ballot.file, ballot.fresh = None, []
        self._drop_body(ballot)
        self.changed.notify()  # its vote may be waiting for followers
        waiting = self._waiting.get(ballot)
        if waiting is not None and not waiting.done():
            waiting.set_exception(errors.BadRequest(f"transaction {ballot.id.hex()} was given up while it waited"))
        if ballot.given_up is not None:
            ballot.given_up()
        self._release(ballot)

    def _release(self, ballot: Ballot) -> None:
        for woken in self._locks.release(ballot):
            future = self._waiting.get(woken)
            if future is not None and not future.done():
                future.set_result(None)
        self._released()
