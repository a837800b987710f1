"""What clients ask on a session, and how each request is answered.

Quick ones are answered as they are read; those that wait for something run as
tasks of the session, and end with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine, Hashable, Iterable
from typing import Any

from springtide import errors
from springtide.node.answers import Answers, voted
from springtide.node.core import NodeCore
from springtide.node.fields import transaction_id_of
from springtide.node.packs import PackRequests
from springtide.node.past import PastRequests
from springtide.node.reading import Reading
from springtide.node.stores import Assembly, Key, ticket_of
from springtide.primary.reign import Reign
from springtide.records.ids import Tid, TransactionId
from springtide.wire import status
from springtide.wire.v1 import session_pb2 as pb

log = logging.getLogger(__name__)

#: Requests of one session that may wait at the same time.
TASKS_MAX = 1_000


class Requests:
    """The requests of one session. ``session`` names it to the primary."""

    def __init__(
        self,
        core: NodeCore,
        session: Hashable,
        answers: Answers,
        record_bytes_max: int,
        forget_files: Callable[[TransactionId], Awaitable[None]],
    ) -> None:
        self._forget_files = forget_files
        self._core = core
        self._session = session
        self._answers = answers
        self._tasks: set[asyncio.Task[None]] = set()
        self._assembly = Assembly(record_bytes_max, lambda: core.disk.spool())
        self._reading = Reading(core, answers, self._start)
        #: Attempts whose stores failed, and to which reign the stores of others went; until their vote.
        self._failed: dict[Key, errors.SpringtideError] = {}
        self._stored: dict[Key, Reign] = {}
        self._finishing: dict[TransactionId, int] = {}
        #: The attempt of which too much is in memory: ``spool`` before the next message.
        self.overflowing: Key | None = None
        self._past = PastRequests(core, answers)
        self._packs = PackRequests(core, answers)

    def end(self) -> None:
        """The session is over: nothing waits on, and its votes are given up."""
        for task in self._tasks:
            task.cancel()
        if self._core.reign is not None:
            self._core.reign.session_ended(self._session)

    def finished(self, id: TransactionId, tid: Tid) -> bool:
        """A transaction is committed: answers its finish, if this session waits for it."""
        request = self._finishing.pop(id, None)
        if request is not None:
            self._answers.answer(request, finished=pb.Finished(tid=tid))
        return request is not None

    def reign_ended(self) -> None:
        finishing, self._finishing = self._finishing, {}
        for request in finishing.values():
            self._fail(request, errors.NotPrimary("the primary changed before the commit was confirmed"))

    def _fail(self, request: int, error: Exception) -> None:
        if not isinstance(error, errors.SpringtideError):
            log.error("a request of client %s failed", self._answers.client, exc_info=error)
        self._answers.answer(request, error=status.to_wire(error))

    def take(self, message: pb.ClientMessage) -> None:
        """Answer ``message``, now or later."""
        request = message.request
        try:
            match message.WhichOneof("body"):
                case "load":
                    self._reading.load_before(request, message.load)
                case "load_serial":
                    self._reading.load_serial(request, message.load_serial)
                case "prefetch":
                    self._reading.prefetch(request, message.prefetch)
                case "stores":
                    stores = message.stores
                    self._stores(transaction_id_of(stores.transaction), stores.attempt, stores.writes)
                case "vote":
                    if message.vote.stores:
                        vote = message.vote
                        self._stores(transaction_id_of(vote.transaction), vote.attempt, vote.stores)
                        self.overflowing = None  # the vote does it
                    self._start(request, self._vote(request, message.vote))
                case "finish":
                    self._finish(request, message.finish)
                case "abort":
                    self._abort(request, message.abort)
                case "ask_outcome":
                    self._start(request, self._outcome(request, message.ask_outcome))
                case "heads" | "history" | "undo_read" | "records" as kind:
                    self._start(request, self._past.answer(request, kind, getattr(message, kind)))
                case "new_oids":
                    self._start(request, self._oids(request, message.new_oids.count))
                case "pack":
                    self._start(request, self._packs.pack(request, message.pack))
                case "referred":
                    self._packs.referred(message.referred)
                case "info":
                    self._start(request, self._info(request))
                case "sync":
                    self._start(request, self._sync(request, message.sync.strict))
                case other:
                    raise errors.BadRequest(f"request {request} is of a kind this node does not know ({other})")
        except Exception as error:
            self._fail(request, error)

    def _start(self, request: int, work: Coroutine[Any, Any, None]) -> None:
        if len(self._tasks) >= TASKS_MAX:
            work.close()
            raise errors.BadRequest(f"this session has {TASKS_MAX} requests waiting already")
        task = asyncio.ensure_future(self._guard(request, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _guard(self, request: int, work: Coroutine[Any, Any, None]) -> None:
        try:
            await work
        except Exception as error:
            self._fail(request, error)

    # -- about the database -------------------------------------------------------------------------

    async def _info(self, request: int) -> None:
        disk = self._core.disk
        await disk.until_applied(disk.commit_lsn)  # the state counts what it holds
        answer = pb.InfoAnswer(objects=disk.object_count(), bytes=disk.size_bytes(), last_tid=disk.commit_tid)
        self._answers.answer(request, info=answer)

    async def _sync(self, request: int, strict: bool) -> None:
        tid = await self._reign().confirm() if strict else self._core.disk.commit_tid
        self._answers.answer(request, synced=pb.Synced(last_tid=tid))

    # -- commits --------------------------------------------------------------------------------

    def _reign(self) -> Reign:
        reign = self._core.reign
        if reign is None:
            raise self._core.not_primary()
        return reign

    def _stores(self, id: TransactionId, attempt: int, writes: Iterable[pb.Write]) -> None:
        """Errors wait for the vote: stores are not answered."""
        key = (id, attempt)
        if key in self._failed:
            return
        try:
            reign = self._reign()
            if self._stored.setdefault(key, reign) is not reign:
                raise self._core.not_primary()  # what was sent before went with the former reign
            reign.collect(*key, self._session, self._assembly.add(key, writes))
            if self._assembly.overflows(key) or reign.overflows(*key):
                self.overflowing = key
        except errors.SpringtideError as error:
            self._stores_failed(key, error)

    def _stores_failed(self, key: Key, error: errors.SpringtideError) -> None:
        if len(self._failed) >= TASKS_MAX:
            self._failed.pop(next(iter(self._failed)))
        self._failed[key] = error
        self._assembly.forget(key)

    async def spool(self) -> None:
        """Move to the disk what became too much for memory; no message is taken meanwhile."""
        key, self.overflowing = self.overflowing, None
        assert key is not None, "something overflows"
        try:
            if self._assembly.overflows(key):
                await asyncio.to_thread(self._assembly.spool, key)
            await self._reign().spool(*key)
        except errors.SpringtideError as error:
            if self._core.reign is not None:
                self._core.reign.abort(*key)
            self._stores_failed(key, error)

    async def _vote(self, request: int, vote: pb.Vote) -> None:
        key = (transaction_id_of(vote.transaction), vote.attempt)
        failed, stored = self._failed.pop(key, None), self._stored.get(key)
        self._assembly.forget(key)
        reign = self._reign()
        if failed is not None or (stored is not None and stored is not reign):
            self._stored.pop(key, None)
            raise failed or self._core.not_primary()
        answer = await reign.vote(*key, self._session, ticket_of(vote), vote.writes)
        if not answer.conflicts and not answer.missing_blobs:
            self._stored.pop(key, None)
        self._answers.answer(request, voted=voted(answer, self._core.disk))

    def _finish(self, request: int, finish: pb.Finish) -> None:
        id = transaction_id_of(finish.transaction)
        self._finishing[id] = request
        try:
            self._reign().finish(id, finish.attempt, finish.epoch, lambda: self._not_finished(id))
        except BaseException:
            self._finishing.pop(id, None)
            raise

    def _not_finished(self, id: TransactionId) -> None:
        request = self._finishing.pop(id, None)
        if request is not None:
            self._fail(request, errors.BadRequest(f"transaction {id.hex()} was given up: ask for its outcome"))

    def _abort(self, request: int, abort: pb.Abort) -> None:
        key = (transaction_id_of(abort.transaction), abort.attempt)
        self._failed.pop(key, None)
        self._stored.pop(key, None)
        self._assembly.forget(key)
        if self._core.reign is not None:
            self._core.reign.abort(*key)
        if abort.last:
            self._start(request, self._forget(request, key[0]))
        elif request:
            self._answers.answer(request, done=pb.Done())

    async def _forget(self, request: int, id: TransactionId) -> None:
        await self._forget_files(id)
        if request:
            self._answers.answer(request, done=pb.Done())

    async def _outcome(self, request: int, ask: pb.AskOutcome) -> None:
        try:
            tid = await self._reign().outcome(transaction_id_of(ask.transaction), ask.attempt, ask.epoch)
        except errors.OutcomeUnknown:
            self._answers.answer(request, outcome=pb.Outcome(result=pb.Outcome.RESULT_FORGOTTEN))
            return
        if tid is None:
            answer = pb.Outcome(result=pb.Outcome.RESULT_NEVER)
        else:
            answer = pb.Outcome(result=pb.Outcome.RESULT_COMMITTED, tid=tid)
        self._answers.answer(request, outcome=answer)

    async def _oids(self, request: int, count: int) -> None:
        if not 0 < count <= 100_000:
            raise errors.BadRequest(f"oids are given out 1 to 100,000 at a time, not {count}")
        given = await self._reign().oids(count)
        self._answers.answer(request, oids=pb.Oids(first=given.first, count=given.count))
