"""When does a primary pack by itself, and to which tid?

Pure. The state remembers to where it was packed, and that is how a new primary knows when it was last done.
"""

from __future__ import annotations

from dataclasses import dataclass

from springtide.primary import tids
from springtide.records.ids import Tid


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in seconds."""

    keep_seconds: float
    keep_revisions: int
    gc: bool
    every_seconds: float


def point(policy: Policy, now: float) -> Tid:
    """What to pack to, ``now`` being seconds since 1970."""
    return tids.tid_of(max(0.0, now - policy.keep_seconds))


def is_due(policy: Policy, now: float, packed: Tid, last: float | None) -> bool:
    """Whether to pack now. ``last`` is when this reign did, ``packed`` to where the database was packed at all."""
    if last is not None:
        return now - last >= policy.every_seconds
    return packed < tids.tid_of(max(0.0, now - policy.keep_seconds - policy.every_seconds))


def pause_seconds(policy: Policy) -> float:
    """How often to look."""
    return min(60.0, policy.every_seconds / 4)
