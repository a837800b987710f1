"""A walk over all objects that exist: one call for each, and a request to a node for a few hundred of them.

What a call returns is current when it is made, as if it had asked for that object alone: of what was
fetched ahead, everything is dropped that may have changed since, or that something may now lie between.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

from ZODB.POSException import POSKeyError

from springtide.client.gathering import Gatherer
from springtide.client.view import View
from springtide.records.ids import OID_ZERO, Oid, Tid
from springtide.wire.v1 import session_pb2 as wire

#: Walks that go on at the same time, each with one page of about a megabyte.
PAGES_MAX = 4

Step = tuple[Oid, Tid, bytes, Oid | None]


@dataclass(eq=False)
class _Page:
    """Objects from ``start`` up to ``end`` (None: all that follow). ``stale``: something there has changed."""

    start: Oid
    history: str
    as_of: Tid
    end: Oid | None = None
    steps: dict[Oid, Step] = field(default_factory=dict)
    stale: bool = False

    def covers(self, oid: Oid) -> bool:
        return oid >= self.start and (self.end is None or oid < self.end)


class Walk:
    def __init__(self, gatherer: Gatherer, last: Callable[[], Tid], view: View) -> None:
        self._gatherer = gatherer
        self._last = last
        self._view = view
        self._pages: list[_Page] = []  # under the view's lock
        view.watchers.append(self._changed)

    def step(self, at: Oid | None) -> Step:
        """The first object that exists, from ``at`` on, and the oid of the one that follows it, if any.

        Raises POSKeyError where there is none from ``at`` on.
        """
        start = OID_ZERO if at is None else at
        self._last()  # raises where the storage is closed
        return self._fetched(start) or self._fetch(start)

    def _changed(self, oids: Collection[Oid]) -> None:
        for page in self._pages:
            page.stale = page.stale or any(map(page.covers, oids))

    def _fetched(self, start: Oid) -> Step | None:
        with self._view.lock:
            self._pages = [page for page in self._pages if not self._outdated(page)]
            for page in self._pages:
                step = page.steps.pop(start, None)
                if step is not None:
                    return step
        return None

    def _outdated(self, page: _Page) -> bool:
        """A gap in what was told, or another history, is a change of everything."""
        return page.stale or page.history != self._view.history or page.as_of < self._view.recent.since

    def _fetch(self, start: Oid) -> Step:
        floor = self._last()
        page = _Page(start, self._view.history, floor)
        with self._view.lock:
            self._pages = [*self._pages[-PAGES_MAX + 1 :], page]  # from now on changes are noticed
        parts, done = self._gatherer.ask(
            lambda: wire.ClientMessage(records=wire.Records(start=start, floor=floor)),
        )
        end = Oid(done.next) if done.next else None
        followers = [*(loaded.oid for loaded in parts[1:]), end]
        steps: list[Step] = [
            (loaded.oid, loaded.tid, loaded.data, following)
            for loaded, following in zip(parts, followers, strict=len(parts) > 0)
        ]
        if not steps:
            raise POSKeyError(start)
        with self._view.lock:
            page.end = end
            page.steps = {step[0]: step for step in steps[1:]}
        return steps[0]
