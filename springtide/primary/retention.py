"""When does a primary pack by itself, and to which tid?

Pure. The state remembers to where it was packed, and that is how a new primary knows when it was last done.
"""

from __future__ import annotations

from dataclasses import dataclass

from springtide.primary import tids
from springtide.records.ids import Tid
from springtide.records.packs import PackBegin


@dataclass(frozen=True, slots=True)
class Policy:
    """Times in seconds."""

    keep_seconds: float
    keep_revisions: int
    gc: bool
    every_seconds: float
    #: Of objects of these classes, history of another length.
    keep_classes: tuple[tuple[str, float], ...] = ()


def pack(policy: Policy, now: float) -> PackBegin:
    """What to pack, ``now`` being seconds since 1970."""

    def point(seconds: float) -> Tid:
        return tids.tid_of(max(0.0, now - seconds))

    classes = tuple((name, point(seconds)) for name, seconds in policy.keep_classes)
    return PackBegin(point(policy.keep_seconds), policy.gc, policy.keep_revisions, classes)


def is_due(policy: Policy, now: float, packed: Tid, last: float | None) -> bool:
    """Whether to pack now. ``last`` is when this reign did, ``packed`` to where the database was packed at all."""
    if last is not None:
        return now - last >= policy.every_seconds
    return packed < tids.tid_of(max(0.0, now - policy.keep_seconds - policy.every_seconds))


def pause_seconds(policy: Policy) -> float:
    """How often to look."""
    return min(60.0, policy.every_seconds / 4)
