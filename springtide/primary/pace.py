"""How much does the next step of a pack take away, and how long do commits have the disk to themselves after it?

Pure. While others commit, applying a step takes about as long as committing it: a commit that meets it takes twice as
long at most. Where nobody commits, steps are large, and follow each other at once.
"""

from __future__ import annotations

from springtide.records.ids import Tid

REVISIONS_MIN, REVISIONS_FIRST, REVISIONS_MAX = 50, 300, 3_000
#: Others commit as long as the last of their commits was so long ago at most.
BUSY_SECONDS = 1.0
#: How long applying a step may take where nobody commits: whoever then does meets one such step.
IDLE_APPLYING_SECONDS = 0.1
#: The disk belongs to what others commit for so many times as long as a step took, at least and at most so long:
#: few commits meet one at all. Followers apply it meanwhile.
REST_FACTOR, REST_SECONDS_MIN, REST_SECONDS_MAX = 10.0, 0.05, 1.0
#: Steps grow and shrink by this factor at most: one slow sync says little.
_GROWTH = 1.5


class Pace:
    """``revisions``: so many the next step takes away at most."""

    def __init__(self) -> None:
        self.revisions = REVISIONS_FIRST
        self._last: Tid | None = None
        self._busy_at = float("-inf")

    def sees(self, last: Tid, voted: bool, now: float) -> None:
        """The tid of the last commit, and whether more have been voted on."""
        if voted or self._last not in (last, None):
            self._busy_at = now
        self._last = last

    def took(self, revisions: int, committing: float, applying: float, now: float) -> float:
        """A step was committed, then applied, in so many seconds; for how many to rest now."""
        busy = now - self._busy_at < BUSY_SECONDS
        bearable = committing if busy else IDLE_APPLYING_SECONDS
        factor = min(_GROWTH, max(1 / _GROWTH, bearable / max(applying, 1e-6)))
        if factor < 1 or revisions >= self.revisions:  # a smaller one says nothing about larger ones
            self.revisions = min(REVISIONS_MAX, max(REVISIONS_MIN, int(self.revisions * factor)))
        rest = REST_FACTOR * (committing + applying)
        return min(REST_SECONDS_MAX, max(REST_SECONDS_MIN, rest)) if busy else 0.0
