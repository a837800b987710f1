"""Do all nodes hold the same, byte for byte, and does their log begin its epochs in order?

Pure. What a node holds was read from its directory when it did not run.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from springtide.testing.checkers.anomaly import Anomaly

#: So many differences of one kind are named; the rest is counted.
_NAMED_MAX = 5


@dataclass(frozen=True, slots=True)
class Copy:
    """One node's directory. Values are digests; keys are what they are digests of."""

    node: str
    #: lsn to epoch and chain digest, of all that its log still has.
    entries: Mapping[int, tuple[int, str]] = field(default_factory=dict)
    #: Rows of the state, by table and key.
    rows: Mapping[str, str] = field(default_factory=dict)
    #: Files of blobs, by their path.
    blobs: Mapping[str, str] = field(default_factory=dict)


def check_copies(copies: Sequence[Copy]) -> list[Anomaly]:
    """All nodes are equal, and no epoch falls along a log."""
    found = [anomaly for each in copies for anomaly in _epochs(each)]
    for one, other in pairwise(copies):
        found += _ends(one, other)
        shared = one.entries.keys() & other.entries.keys()
        mine, theirs = ({lsn: each.entries[lsn] for lsn in shared} for each in (one, other))
        found += _compare("log", one.node, other.node, mine, theirs)
        found += _compare("state", one.node, other.node, one.rows, other.rows)
        found += _compare("blobs", one.node, other.node, one.blobs, other.blobs)
    return found


def _epochs(copy: Copy) -> Iterator[Anomaly]:
    last = 0
    for lsn in sorted(copy.entries):
        epoch, _ = copy.entries[lsn]
        if epoch < last:
            yield Anomaly("epoch fell", f"on node {copy.node}, lsn {lsn} is of epoch {epoch}, after epoch {last}")
        last = max(last, epoch)


def _ends(one: Copy, other: Copy) -> Iterator[Anomaly]:
    ends = max(one.entries, default=0), max(other.entries, default=0)
    if ends[0] != ends[1]:
        text = f"the log of node {one.node} ends at lsn {ends[0]}, that of node {other.node} at lsn {ends[1]}"
        yield Anomaly("nodes differ", text)


def _compare(what: str, one: str, other: str, mine: Mapping[Any, Any], theirs: Mapping[Any, Any]) -> Iterator[Anomaly]:
    differing = [key for key in mine.keys() | theirs.keys() if mine.get(key) != theirs.get(key)]
    for key in sorted(differing, key=str)[:_NAMED_MAX]:
        yield Anomaly("nodes differ", f"{what} of nodes {one} and {other}: {key} ({len(differing)} places differ)")
