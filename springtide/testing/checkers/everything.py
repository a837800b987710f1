"""All questions at once, as a run of faults asks them at its end.

Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.appends import check_appends
from springtide.testing.checkers.bank import check_bank
from springtide.testing.checkers.blobs import check_blobs
from springtide.testing.checkers.commits import check_commits, check_errors
from springtide.testing.checkers.copies import Copy, check_copies
from springtide.testing.checkers.history import History
from springtide.testing.checkers.log import FinalLog
from springtide.testing.checkers.reads import check_reads, check_sessions, check_strict
from springtide.testing.checkers.records import check_record_cycles
from springtide.testing.checkers.updates import check_oids, check_updates


@dataclass(frozen=True, slots=True)
class Final:
    """How things were found when the cluster had healed, by a strict client; None for workloads that did not run."""

    lists: Mapping[str, Sequence[int]] | None = None
    balances: Mapping[str, int] | None = None
    transfers: int | None = None
    blobs: History | None = None


def check_everything(
    history: History, log: FinalLog, copies: Sequence[Copy] = (), final: Final | None = None
) -> list[Anomaly]:
    """Everything that is wrong; an empty list says that all promises were kept."""
    final = final or Final()
    return [
        *check_errors(history),
        *check_commits(history, log),
        *check_updates(history, log),
        *check_oids(history),
        *check_reads(history, log),
        *check_sessions(history, log),
        *check_strict(history, log),
        *check_record_cycles(history, log),
        *check_appends(history, final.lists),
        *check_bank(history, log, final.balances, final.transfers),
        *check_blobs(history, log, final.blobs),
        *check_copies(copies),
    ]
