"""The final log: every transaction that the healed cluster says was committed, in its order.

Pure. It is read through the ordinary iterator of the storage, so it is what any client can see.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

#: Above every tid.
NEVER = 2**64


@dataclass(frozen=True, slots=True)
class Logged:
    """``writes``: the digest of each record by oid; None where the object was deleted."""

    tid: int
    token: str
    writes: Mapping[int, str | None] = field(default_factory=dict)


class FinalLog:
    """Nothing of it was packed away: every revision that anybody can have read is in it."""

    def __init__(self, transactions: Iterable[Logged]) -> None:
        self.transactions = tuple(transactions)
        self._versions: dict[int, list[int]] = {}
        self._records: dict[tuple[int, int], str | None] = {}
        for each in sorted(self.transactions, key=lambda one: one.tid):
            for oid, digest in each.writes.items():
                self._versions.setdefault(oid, []).append(each.tid)
                self._records[oid, each.tid] = digest

    def versions(self, oid: int) -> list[int]:
        """The tids that wrote this object, in order."""
        return self._versions.get(oid, [])

    def objects(self) -> Iterable[int]:
        return self._versions

    def has(self, oid: int, tid: int) -> bool:
        return (oid, tid) in self._records

    def digest(self, oid: int, tid: int) -> str | None:
        return self._records[oid, tid]

    def following(self, oid: int, tid: int) -> int:
        """The tid of the first revision after ``tid``, or NEVER."""
        versions = self.versions(oid)
        at = bisect_right(versions, tid)
        return versions[at] if at < len(versions) else NEVER

    def preceding(self, oid: int, tid: int) -> int:
        """The tid of the last revision before ``tid``, or 0."""
        versions = self.versions(oid)
        at = bisect_left(versions, tid)
        return versions[at - 1] if at else 0
