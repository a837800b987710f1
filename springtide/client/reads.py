"""Loading records: from the cache, else from one node after another until the deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import islice

from ZODB.POSException import POSKeyError

from springtide.client import messages
from springtide.client.attempts import another_may, attempt
from springtide.client.cache import Revision
from springtide.client.cluster import Cluster
from springtide.client.errors import ClusterUnavailable, Refused, SessionLost, translated
from springtide.client.messages import Loaded
from springtide.client.pending import Prefetching
from springtide.client.session import Session
from springtide.client.shelf import table
from springtide.client.view import View
from springtide.records.entries import Blob
from springtide.records.ids import Oid, Tid
from springtide.wire.v1 import session_pb2 as wire

#: A node that takes longer is not waited for while there may be another.
ATTEMPT_SECONDS = 2.0
#: Oids in one prefetch request: a load of the first waits for the last, so not too many.
PREFETCH_OIDS = 100

Found = tuple[bytes, Tid, Tid | None]
#: What is kept and may be the answer, in memory or on the shelf.
Have = Revision | table.Found


class Reads:
    def __init__(self, cluster: Cluster, view: View, timeout: float) -> None:
        self._cluster = cluster
        self._view = view
        self._timeout = timeout
        #: What a prefetch is bringing, so that loads wait for it instead of asking again.
        self._coming: dict[Oid, Prefetching] = {}

    def forked(self) -> None:
        self._coming = {}

    def last(self) -> Tid:
        view = self._view
        self._cluster.check_open()
        with view.lock:
            last = view.last
        return last if last is not None else self._connected()

    def _connected(self) -> Tid:
        """Wait until any node has told its last tid."""
        deadline = time.monotonic() + self._timeout
        self._cluster.any(deadline)
        if not self._view.wait_known(max(0.0, deadline - time.monotonic())):
            raise ClusterUnavailable("no node has told the last transaction of the database in time")
        return self.last()

    def load_before(self, oid: Oid, before: Tid) -> Found | None:
        """The newest revision before ``before``, and before everything not yet seen here."""
        view = self._view
        self._cluster.check_open()
        with view.lock:
            last, bound, beginnings = view.last, view.bound, view.kept.beginnings
            before = min(before, bound)
            writer = view.owed.writer(oid) if before == bound else None
            revision = view.cache.find(oid, before, bound) if writer is None else None
        if revision is not None:
            return _answer(revision.data, revision.tid, revision.next, bound)
        if writer is not None:
            raise ClusterUnavailable(
                f"object {oid.hex()} was written by transaction {writer.hex()} of this process, which is committed, "
                "but no node has told yet what was before it: repeat the transaction when a node can be reached"
            )
        if last is None:
            self._connected()
            return self.load_before(oid, before)
        if self._came(oid):
            return self.load_before(oid, before)
        found = view.fetch(oid, before)
        with view.lock:
            revision = view.cache.look(oid, before, bound)
            have: Have | None = view.cache.newest(oid, before)
        if view.shelf is not None:
            view.shelf.count(hit=revision is not None)
        if revision is not None:
            return _answer(revision.data, revision.tid, revision.next, bound)
        if found is not None and (have is None or have.tid < found.tid):
            have = found
        named = None if have is None else have.tid
        answer = self._ask(lambda: messages.load(oid, before, last, named), last)
        if answer.unchanged:
            with view.lock:
                if have is None or have.tid != answer.tid or beginnings != view.kept.beginnings:
                    return self.load_before(oid, before)  # the history changed meanwhile
                answer = answer._replace(data=have.data)
                view.cache.confirmed += 1
                view.keep(answer)
        if answer.result == messages.NOT_YET:
            return None
        if answer.result != messages.FOUND:
            raise POSKeyError(oid)
        return _answer(answer.data, answer.tid, answer.next_tid, bound)

    def load_serial(self, oid: Oid, tid: Tid) -> bytes:
        last = self.last()
        with self._view.lock:
            revision = self._view.cache.exactly(oid, tid)
        if revision is not None:
            return revision.data
        if (kept := self._view.fetch_exactly(oid, tid)) is not None:
            return kept
        # Only the primary surely has what is newer than all we know (it names such revisions in conflicts).
        answer = self._ask(lambda: messages.load_serial(oid, tid, last), last, of_primary=tid > last)
        if answer.result != messages.FOUND:
            raise POSKeyError(oid)
        return answer.data

    def blob_of(self, oid: Oid, tid: Tid) -> Blob | None:
        """The file that exactly this revision has, if it has one; POSKeyError if there is no such revision."""
        last = self.last()
        answer = self._ask(lambda: messages.load_serial(oid, tid, last), last, of_primary=tid > last)
        if answer.result != messages.FOUND:
            raise POSKeyError(oid)
        return answer.blob

    def prefetch(self, oids: Iterable[Oid], before: Tid) -> None:
        """Ask for many records at once. What arrives lands in the cache; nobody waits here."""
        last = self.last()
        before = min(before, self._view.bound)
        wanted = self._missing(oids, before)
        while batch := tuple(islice(wanted, PREFETCH_OIDS)):
            try:
                session = self._cluster.reader(time.monotonic() + self._timeout, ())
            except ClusterUnavailable:
                return  # only a hint: the loads that follow will say what is wrong
            prefetching = Prefetching(self._prefetched_by(session, batch))
            for oid in batch:
                self._coming[oid] = prefetching
            session.ask(messages.prefetch(batch, before, last), prefetching)

    def _prefetched_by(self, session: Session, batch: tuple[Oid, ...]) -> Callable[[], None]:
        started = time.monotonic()

        def ended() -> None:
            for oid in batch:
                self._coming.pop(oid, None)
            self._cluster.noted(lambda balance: balance.answered(session.node, time.monotonic() - started))

        return ended

    def _missing(self, oids: Iterable[Oid], before: Tid) -> Iterator[Oid]:
        for oid in dict.fromkeys(oids):
            view = self._view
            with view.lock:
                known = view.cache.look(oid, before) is not None
            if not known and view.fetch(oid, before) is not None:
                with view.lock:
                    known = view.cache.look(oid, before) is not None
            if not known and oid not in self._coming:
                yield oid

    def _came(self, oid: Oid) -> bool:
        """Whether a prefetch was bringing this oid, and has ended."""
        prefetching = self._coming.get(oid)
        if prefetching is None:
            return False
        with suppress(TimeoutError, Refused, SessionLost):
            prefetching.wait(ATTEMPT_SECONDS)
        self._coming.pop(oid, None)
        return True

    # -- one request, as many nodes as it takes ---------------------------------------------------------

    def _ask(
        self,
        make: Callable[[], wire.ClientMessage],
        floor: Tid,
        of_primary: bool = False,
    ) -> Loaded:
        """The answer of some node; it goes to the cache, too, if it is whole."""
        deadline = time.monotonic() + self._timeout
        tried: set[str] = set()
        failure: Exception | None = None
        while True:
            session = self._cluster.reader(deadline, tried, of_primary)
            history = self._view.history
            answer = self._attempt(session, make(), deadline)
            if isinstance(answer, Loaded) and answer.as_of >= floor:
                view = self._view
                with view.lock:
                    if view.history == history and not answer.unchanged:
                        view.keep(answer)
                return answer
            if isinstance(answer, Exception):
                failure = answer
                if isinstance(answer, Refused) and not another_may(answer):
                    raise translated(answer)
            if time.monotonic() >= deadline:
                raise _given_up(failure, self._timeout)
            tried = {session.node} if session.node in tried else {*tried, session.node}

    def _attempt(self, session: Session, message: wire.ClientMessage, deadline: float) -> Loaded | Exception:
        started = time.monotonic()
        answer = attempt(self._cluster, session, message, min(ATTEMPT_SECONDS, deadline - started))
        if isinstance(answer, Exception):
            return answer
        self._cluster.noted(lambda balance: balance.answered(session.node, time.monotonic() - started))
        assert isinstance(answer, Loaded)
        return answer


def _answer(data: bytes, tid: Tid, following: Tid | None, bound: Tid) -> Found:
    """What follows after everything that was seen here does not exist yet."""
    return data, tid, following if following is None or following < bound else None


def _given_up(failure: Exception | None, seconds: float) -> Exception:
    if isinstance(failure, Refused) and not failure.elsewhere:
        return translated(failure)
    return ClusterUnavailable(f"no node could load it within {seconds:g} s: {failure or 'all were behind'}")
