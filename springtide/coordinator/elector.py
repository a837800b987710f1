"""Keeps a node in touch with the store: announced, and with a view that is current.

A shell. It decides nothing: ``election`` does, on ``view``. While the store is
unreachable it keeps trying, keeps the last view, and says so.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeVar

from springtide import errors
from springtide.coordinator.store import Announcement, Refused, Store, Swapped, View, supersedes
from springtide.coordinator.topology import Record
from springtide.records.ids import NodeId

Answer = TypeVar("Answer")

log = logging.getLogger(__name__)

#: Between tries of a store that does not answer. Short: a lease of 3 s is to survive some of them.
RETRY_SECONDS = 0.25


async def enter(store: Store, node: NodeId, starts: int) -> tuple[View, int]:
    """A first view, and the larger of ``starts`` and what the store had counted. Waits until the store answers.

    More than ``starts`` means that the directory is an older copy: it needs a new incarnation.
    """
    complained = False
    while True:
        try:
            counted = await store.raise_starts(node, starts)
            return await store.read(), counted
        except errors.Unreachable as error:
            if not complained:
                log.warning("waiting for the coordinator's store: %s", error)
            complained = True
            await asyncio.sleep(RETRY_SECONDS)


class Elector:
    """Invariant: ``view.record`` never goes back, neither in epoch nor in revision."""

    def __init__(self, store: Store, view: View, announcement: Announcement, ttl_seconds: float = 3.0) -> None:
        """``view`` is a first one, read from ``store``. Nothing happens before ``run``."""
        self._store = store
        self._announcement = announcement
        self._ttl_seconds = ttl_seconds
        self._renew_now = asyncio.Event()
        #: The last view that is known.
        self.view = view
        #: Whether the store answered when it was last asked.
        self.store_reachable = True
        #: Loop time until which others see this node as announced, counted from when it was sent.
        self.valid_until = float("-inf")
        #: Why the store's record is not believed, if it is not.
        self.trouble: str | None = None
        #: Notified after every change of ``view``, ``store_reachable`` or ``trouble``.
        self.changed = asyncio.Condition()

    @property
    def announced(self) -> bool:
        return asyncio.get_running_loop().time() < self.valid_until

    @property
    def rival(self) -> Announcement | None:
        """Another run that is announced under this node's name, after this one was. An operator gave a name twice."""
        announced = self.view.announcements.get(self._announcement.node)
        ours = announced is None or announced.uptime == self._announcement.uptime
        return None if ours or self.valid_until == float("-inf") else announced

    async def run(self) -> None:
        """Renew and watch until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_announced())
            tasks.create_task(self._keep_view())

    async def until(self, predicate: Callable[[], bool]) -> None:
        """Wait until ``predicate``, which reads this elector, holds."""
        async with self.changed:
            await self.changed.wait_for(predicate)

    async def refresh(self) -> View:
        """A view read now. ``errors.Unreachable`` if the store does not answer."""
        view = await self._asked(self._store.read)
        await self._take(view)
        return self.view

    async def swap(self, record: Record, expected_revision: int) -> Swapped | Refused:
        """As ``Store.swap``; what it answers is in ``view`` when this returns."""
        outcome = await self._asked(lambda: self._store.swap(record, expected_revision))
        # Announcements may have changed since the swap was answered, and the watch tells in order.
        present = replace(self.view, record=outcome.view.record, revision=outcome.view.revision)
        await self._take_if_possible(present)
        return outcome

    async def announce(self, announcement: Announcement) -> None:
        """Announce something else from now on: a new address or incarnation of this run."""
        self._announcement = announcement
        self._renew_now.set()

    async def leave(self) -> None:
        """End the announcement, so that others need not wait for it to expire. After ``run`` was cancelled."""
        self.valid_until = float("-inf")
        try:
            await self._store.withdraw(self._announcement.node, self._announcement.uptime)
        except errors.Unreachable as error:
            log.info("the announcement of %s stays until it expires: %s", self._announcement.node, error)

    # -- announcing ------------------------------------------------------------------------------

    async def _keep_announced(self) -> None:
        while True:
            self._renew_now.clear()
            pause = await self._renew()
            # Not wait_for: before Python 3.12 it can swallow a cancellation that meets an answer.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await self._renew_now.wait()

    async def _renew(self) -> float:
        """Announce once; the seconds until the next time."""
        sent = asyncio.get_running_loop().time()
        announcement = self._announcement
        try:
            await self._asked(lambda: self._store.announce(announcement, self._ttl_seconds))
        except errors.Unreachable:
            return min(RETRY_SECONDS, self._ttl_seconds / 3)
        self.valid_until = sent + self._ttl_seconds
        return self._ttl_seconds / 3

    # -- watching --------------------------------------------------------------------------------

    async def _keep_view(self) -> None:
        while True:
            try:
                async for view in self._store.watch():
                    await self._take_if_possible(view)
                    if self._announcement.node not in view.announcements:
                        self._renew_now.set()
            except errors.Damaged as error:
                await self._show(self.view, str(error))
            await asyncio.sleep(RETRY_SECONDS)

    async def _take_if_possible(self, view: View) -> None:
        """A view that would need a second look, where the store does not give one, is left out."""
        with contextlib.suppress(errors.Unreachable):
            await self._take(view)

    async def _take(self, view: View) -> None:
        """Make ``view`` the present one; of its record only what does not go back."""
        known, trouble = self.view, None
        if _goes_back(view, known):
            # Two answers may have overtaken each other. One asked for now cannot be overtaken.
            view = await self._asked(self._store.read)
            if _goes_back(view, known):
                trouble = _put_back(view, known)
        if _goes_back(view, self.view):
            view = replace(view, record=self.view.record, revision=self.view.revision)
        await self._show(view, trouble)

    async def _show(self, view: View, trouble: str | None) -> None:
        if trouble is not None and trouble != self.trouble:
            log.error("%s", trouble)
        if view != self.view or trouble != self.trouble:
            self.view, self.trouble = view, trouble
            await self._notify()

    async def _asked(self, ask: Callable[[], Awaitable[Answer]]) -> Answer:
        """The store's answer; whether it answered is noted."""
        try:
            answer = await ask()
        except errors.Unreachable as error:
            if self.store_reachable:
                log.warning("the coordinator's store does not answer: %s", error)
                self.store_reachable = False
                await self._notify()
            raise
        if not self.store_reachable:
            log.info("the coordinator's store answers again")
            self.store_reachable = True
            await self._notify()
        return answer

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()


def _goes_back(view: View, known: View) -> bool:
    same = view.revision == known.revision and view.record == known.record
    return not same and not supersedes(view, known.record, known.revision)


def _put_back(view: View, known: View) -> str:
    assert known.record is not None, "nothing goes back from no record"
    shown = f"epoch {view.record.epoch}, revision {view.revision}" if view.record is not None else "no record"
    return (
        f"the coordinator's store was put back: it shows {shown}, after epoch {known.record.epoch}, revision "
        f"{known.revision}. 'springtide recover' writes the record again"
    )
