"""What a session reads.

Answered as it is asked, unless this node has to catch up with the client first: the second half of
rule R9, that nothing is answered at a tid that the commit point here does not cover.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from springtide.node.answers import Answers, loaded
from springtide.node.core import CATCH_UP_SECONDS, NodeCore
from springtide.node.fields import floor_of, oid_of, tid_of
from springtide.records.ids import TID_ZERO, Oid, Tid
from springtide.wire.v1 import session_pb2 as pb

#: One request prefetches no more than this, so that those behind it do not wait long.
PREFETCH_OIDS_MAX, PREFETCH_BYTES_MAX = 1_000, 4 * 2**20


Start = Callable[[int, Coroutine[Any, Any, None]], None]


class Reading:
    """The reads of one session. ``start`` runs what cannot be answered at once."""

    def __init__(self, core: NodeCore, answers: Answers, start: Start) -> None:
        self._core = core
        self._answers = answers
        self._start = start

    def load_before(self, request: int, load: pb.Load) -> None:
        oid, before, have = oid_of(load.oid), tid_of("before", load.before), _have(load.have)

        def answer() -> None:
            packs = self._core.disk.packs
            found = self._core.disk.load_before(oid, before)
            self._send(request, oid, found, packs, have)

        self._when(request, floor_of(load.floor), answer)

    def load_serial(self, request: int, load: pb.LoadSerial) -> None:
        oid, tid = oid_of(load.oid), tid_of("tid", load.tid)

        def answer() -> None:
            packs = self._core.disk.packs
            self._send(request, oid, self._core.disk.load_serial(oid, tid), packs)

        self._when(request, floor_of(load.floor), answer)

    def prefetch(self, request: int, many: pb.Prefetch) -> None:
        """As many as fit: prefetching is a hint, and the loads that follow ask for the rest."""
        oids, before = [oid_of(name) for name in many.oids[:PREFETCH_OIDS_MAX]], tid_of("before", many.before)

        def answer() -> None:
            sent = 0
            for oid in oids:
                packs = self._core.disk.packs
                sent += self._send(request, oid, self._core.disk.load_before(oid, before), packs)
                if sent > PREFETCH_BYTES_MAX:
                    break
            self._answers.answer(request, done=pb.Done())

        self._when(request, floor_of(many.floor), answer)

    def _when(self, request: int, floor: Tid, answer: Callable[[], None]) -> None:
        """Answer when this node has everything up to ``floor``."""
        if floor <= self._core.disk.commit_tid and self._core.disk.complete:
            answer()
        else:
            self._start(request, self._later(floor, answer))

    async def _later(self, floor: Tid, answer: Callable[[], None]) -> None:
        await self._core.until_tid(floor, CATCH_UP_SECONDS)
        answer()

    def _send(self, request: int, oid: Oid, found: Any, packs: int, have: Tid = TID_ZERO) -> int:
        """Answer with what was found, read when ``packs`` had been; how many bytes of data that were."""
        self._answers.served(1)
        sent = 0
        for part in loaded(oid, found, packs, have):
            self._answers.answer(request, loaded=part)
            sent += len(part.data)
        return sent


def _have(data: bytes) -> Tid:
    """Who has nothing says nothing."""
    return tid_of("have", data) if data else TID_ZERO
