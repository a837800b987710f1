"""What clients keep, and what they are told: snapshots that are none, sessions that miss something or go back."""

from __future__ import annotations

from typing import Any

from springtide.client import transaction as tx
from springtide.client.cache import Cache, Recent
from springtide.engine.values import Committed
from springtide.primary.leadership import Leadership
from springtide.records.entries import Kind, decode_transaction
from springtide.records.ids import TID_ZERO
from springtide.testing.simulator import words
from springtide.testing.simulator.clients import Client
from springtide.testing.simulator.reads import Reads
from tests.simulation.mutants.planting import Bench, mutant
from tests.simulation.mutants.profiles import CACHED, IMPATIENT


@mutant("design, as_of", run=CACHED)
def no_later_revision_is_believed_beyond_as_of(bench: Bench) -> None:
    """What a replica that is behind answers is kept as what is current now."""

    def add(self: Any, oid: Any, data: bytes, tid: Any, next_: Any, as_of: Any, recent: Any, last: Any) -> Any:
        return original(self, oid, data, tid, next_, max(as_of, last), recent, last)

    original = bench.replace(Cache, "add", add)


@mutant("design, as_of", run=CACHED)
def a_late_answer_counts_as_current(bench: Bench) -> None:
    """Nobody looks whether an invalidation came while the answer was on its way."""
    bench.replace(Recent, "unchanged_since", lambda self, oid, tid: True)


@mutant("design, invalidations", run=CACHED)
def what_a_session_missed_is_not_told(bench: Bench) -> None:
    """A client that comes back hears of what is committed from then on."""
    bench.replace(Reads, "changed_since", lambda self, tid: iter(()))


@mutant("design, snapshots", run=CACHED)
def a_revision_answers_beyond_its_end(bench: Bench) -> None:
    """A transaction reads what was current once beside what is current at its snapshot: a state that never was."""

    def look(self: Any, oid: Any, before: Any, *rest: Any) -> Any:
        return original(self, oid, before, *rest) or self.newest(oid, before)

    original = bench.replace(Cache, "look", look)


@mutant("24 (I5)")
def clients_are_told_before_it_is_committed(bench: Bench) -> None:
    """Invalidations and answers leave when a transaction is in the primary's log."""

    def append(self: Any, kind: Any, body: Any, *rest: Any) -> Any:
        entry = original(self, kind, body, *rest)
        if kind is Kind.TRANSACTION:
            self._committed([Committed(entry.lsn, entry.epoch, kind, decode_transaction(body))])
        return entry

    original = bench.replace(Leadership, "append", append)


@mutant("26 (I5)", budget=100)
def a_commit_is_seen_before_the_one_below_it(bench: Bench) -> None:
    """What a node shows is not a prefix of the log: the last but one transaction shows later than the last."""

    def load_before(self: Any, oid: Any, before: Any) -> Any:
        loaded = original(self, oid, before)
        last = sorted(self._state.transactions)[-2:]
        if len(last) == 2 and loaded.tid == last[0]:
            return original(self, oid, loaded.tid)._replace(as_of=loaded.as_of)
        return loaded

    original = bench.replace(Reads, "load_before", load_before)


@mutant("27 (R9), in the client", found="saw")
def a_client_does_not_say_what_it_has_seen(bench: Bench) -> None:
    """The balancer moves a client to a node that is behind, and the client does not say how far it was."""
    newest = words.Newest
    bench.replace(words, "Newest", lambda floor: newest(TID_ZERO))


@mutant("22 (R10), in the client", run=IMPATIENT)
def a_client_takes_a_lost_answer_for_a_refusal(bench: Bench) -> None:
    """Where the answer to a finish is lost, the application is told that nothing was committed."""

    async def outcome(self: Any, begun: Any, epoch: int) -> tx.Outcome:
        return tx.Outcome(tx.Result.NEVER)

    bench.replace(Client, "_outcome", outcome)
