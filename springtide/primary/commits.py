"""Up to where is everything committed?

Pure. Keeps rule R3, R2 with what ``coordinator.membership`` requires, the half of R4 about
acknowledgements, and the half of R5 about the epoch start: an entry is committed when every
member that could be elected holds it durably (invariant I1), and at least the minimum of them
do; acknowledgements of another epoch are never counted, because a new epoch is a new ``Commits``.
"""

from __future__ import annotations

from collections.abc import Iterable

from springtide import errors
from springtide.records.ids import Member


class Commits:
    """What this epoch's primary knows about who holds what.

    Invariants: ``commit`` never falls; nothing is committed before this epoch's own
    start entry is (a new primary first re-commits all it inherited).
    """

    def __init__(self, start: int, commit: int, required: Iterable[frozenset[Member]], minimum: int) -> None:
        """``start`` is the lsn of the epoch start entry, ``commit`` what is known committed from before."""
        self.start = start
        self.commit = commit
        self._acked: dict[Member, int] = {}
        self._sets: tuple[frozenset[Member], ...] = ()
        self.minimum = minimum
        self.require(required, minimum)

    def require(self, sets: Iterable[frozenset[Member]], minimum: int) -> None:
        """From now on commits need the members of all these sets: the current one, and the one asked for."""
        self._sets = tuple(sets)
        self.minimum = minimum
        if not self._sets or not all(self._sets):
            raise errors.Broken("I3", "a commit would need nobody's acknowledgement")

    @property
    def required(self) -> frozenset[Member]:
        return frozenset().union(*self._sets)

    def acknowledged(self, member: Member, lsn: int) -> bool:
        """``member`` holds everything up to ``lsn`` on disk; whether the commit point moved.

        The primary's own disk counts in the same way.
        """
        if lsn > self._acked.get(member, 0):
            self._acked[member] = lsn
        return self.settle()

    def settle(self) -> bool:
        """Move the commit point as far as it goes; whether it moved."""
        if min(len(members) for members in self._sets) < self.minimum:
            return False
        reached = min(self._acked.get(member, 0) for member in self.required)
        if reached < self.start or reached <= self.commit:
            return False
        self.commit = reached
        return True

    def acked(self, member: Member) -> int:
        return self._acked.get(member, 0)

    @property
    def established(self) -> bool:
        """Whether this epoch's start is committed: only then does the primary serve commits and answer outcomes."""
        return self.commit >= self.start
