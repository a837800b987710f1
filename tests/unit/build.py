"""Words that unit tests share."""

from __future__ import annotations

from springtide.records import entries
from springtide.records.entries import Entry, Kind, OidRange
from springtide.records.ids import Member, NodeId, Tid
from springtide.records.ids import tid as tid
from springtide.records.position import ORIGIN, Point, Position

__all__ = ["Tid", "at", "history", "member", "tid"]


def at(epoch: int, lsn: int) -> Position:
    return Position(epoch, lsn)


def member(name: str, incarnation: str = "1") -> Member:
    return Member(NodeId(name), incarnation)


def history(text: str, base: Point = ORIGIN) -> list[Entry]:
    """Entries from a sketch: ``"1a*3 2b"`` is three of epoch 1 on branch a, then one of epoch 2 on branch b.

    Equal sketches give equal entries; another branch letter gives other bodies at the same epoch and lsn.
    """
    made: list[Entry] = []
    for part in text.split():
        run, _, count = part.partition("*")
        epoch, branch = int(run.rstrip("abcdefghijklmnopqrstuvwxyz")), run.lstrip("0123456789") or "a"
        for _ in range(int(count) if count else 1):
            previous = made[-1].point if made else base
            body = entries.encode_oid_range(OidRange(previous.lsn + 1, ord(branch)))
            made.append(entries.following(previous, epoch, Kind.OIDS, body))
    return made
