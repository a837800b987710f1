"""What a simulated node offers to simulated clients.

Answers leave in the order in which they are known, each when it is known, as
``node.sessions`` sends them.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from typing import Any

from springtide import errors
from springtide.node.core import CATCH_UP_SECONDS, NodeCore
from springtide.primary.conflicts import Wanted
from springtide.primary.ports import Committed
from springtide.primary.reign import Reign
from springtide.primary.votes import Ticket
from springtide.records.ids import Tid, TransactionId
from springtide.testing.simulator.disk import SimEngine
from springtide.testing.simulator.network import End
from springtide.testing.simulator.words import (
    Abort,
    Answer,
    AskOutcome,
    Finish,
    Load,
    Newest,
    NewOids,
    Request,
    Strict,
    Told,
    Vote,
    Watch,
    WhoLeads,
)


class Office:
    """All the clients of one run of one node."""

    def __init__(self, core: NodeCore, engine: SimEngine) -> None:
        self._core, self._engine = core, engine
        self._finishing: dict[TransactionId, asyncio.Future[Tid]] = {}
        self._watching: dict[End[Any, Any], asyncio.Queue[Told]] = {}
        core.on_committed.append(self._committed)
        core.on_copy.append(self._copy)
        core.on_reign_ended.append(self._reign_ended)

    async def serve(self, end: End[Any, Any]) -> None:
        tasks: list[asyncio.Task[None]] = []
        try:
            while (message := await end.receive()) is not None:
                number, request = message
                tasks.append(asyncio.ensure_future(self._answer(end, number, request)))
        finally:
            self._watching.pop(end, None)
            for task in tasks:
                task.cancel()
            if self._core.reign is not None:
                self._core.reign.session_ended(end)

    async def _answer(self, end: End[Any, Any], number: int, request: Request) -> None:
        answer: Answer | Exception
        try:
            answer = await self._do(end, request)
        except errors.SpringtideError as error:
            answer = error
        with contextlib.suppress(errors.Unreachable):  # the client went elsewhere
            await end.send((number, answer))

    async def _tell(self, end: End[Any, Any], since: Tid) -> None:
        """As a session does: what was missed, then what is committed, in order and without a gap."""
        queue: asyncio.Queue[Told] = asyncio.Queue()
        queue.put_nowait(tuple(self._engine.changed_since(since)))
        self._watching[end] = queue
        with contextlib.suppress(errors.Unreachable):
            while True:
                await end.send((0, await queue.get()))

    async def _do(self, session: End[Any, Any], request: Request) -> Answer:
        match request:
            case Vote(id=id, attempt=attempt, wants=wants, description=description):
                reign = self._reign()
                reign.collect(id, attempt, session, wants)
                self._store(wants)
                return await reign.vote(id, attempt, session, Ticket(description=description), len(wants))
            case Finish(id=id, attempt=attempt, epoch=epoch):
                return await self._finish(id, attempt, epoch)
            case Abort(id=id, attempt=attempt):
                self._reign().abort(id, attempt)
                return None
            case AskOutcome(id=id, attempt=attempt, epoch=epoch):
                return await self._reign().outcome(id, attempt, epoch)
            case NewOids(count=count):
                return await self._reign().oids(count)
            case Strict():
                return await self._reign().confirm()
            case Load(oid=oid, before=before, floor=floor):
                await self._core.until_tid(floor, CATCH_UP_SECONDS)
                return self._engine.load_before(oid, before)
            case Newest(floor=floor):
                await self._core.until_tid(floor, CATCH_UP_SECONDS)
                return self._engine.commit_tid
            case WhoLeads():
                return self._core.topology()
            case Watch(since=since):
                await self._core.until_tid(since, CATCH_UP_SECONDS)
                await self._tell(session, since)
                return None

    def _store(self, wants: Sequence[Wanted]) -> None:
        """What a client does before it votes: the files are here, and synced."""
        self._engine.files.update(want.blob.id for want in wants if want.blob is not None)

    async def _finish(self, id: TransactionId, attempt: int, epoch: int) -> Tid:
        finished: asyncio.Future[Tid] = asyncio.get_running_loop().create_future()
        self._finishing[id] = finished
        try:
            self._reign().finish(id, attempt, epoch, lambda: _give_up(finished, id))
            return await finished
        finally:
            if self._finishing.get(id) is finished:
                del self._finishing[id]

    def _reign(self) -> Reign:
        if self._core.reign is None:
            raise self._core.not_primary()
        return self._core.reign

    def _committed(self, committed: Sequence[Committed]) -> None:
        for entry in committed:
            if entry.transaction is not None:
                waiting = self._finishing.pop(entry.transaction.id, None)
                if waiting is not None and not waiting.done():
                    waiting.set_result(entry.transaction.tid)
        told: Told = tuple(
            (entry.transaction.tid, tuple(write.oid for write in entry.transaction.writes))
            for entry in committed
            if entry.transaction is not None
        )
        for queue in self._watching.values():
            queue.put_nowait(told)

    def _copy(self) -> None:
        """The database is copied anew: what is told after that would leave a gap."""
        for end in list(self._watching):
            end.close()

    def _reign_ended(self) -> None:
        for waiting in self._finishing.values():
            if not waiting.done():
                waiting.set_exception(errors.NotPrimary("the primary changed before the commit was confirmed"))
                waiting.exception()
        self._finishing = {}


def _give_up(finished: asyncio.Future[Tid], id: TransactionId) -> None:
    if not finished.done():
        finished.set_exception(errors.BadRequest(f"transaction {id.hex()} was given up: ask for its outcome"))
