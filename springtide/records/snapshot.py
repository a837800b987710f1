"""What the source of a snapshot says to the node that takes it.

Pure. ``Begin``, then the committed state in key order, table by table, then
``End``. The rows are read in many short transactions, so they show no single
moment: the receiver applies every entry after ``base`` on top of them, and its
copy is whole once it has applied ``complete_at``.
"""

from __future__ import annotations

from dataclasses import dataclass

from springtide.records.position import Point


@dataclass(frozen=True, slots=True)
class Begin:
    """``base`` is where the receiver's log begins; ``objects`` is an estimate, for progress.

    When a copy is resumed, ``base`` is the one asked for; another one means: from the start.
    """

    base: Point
    objects: int


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows of one table, in key order, after all that came before."""

    table: str
    rows: tuple[tuple[bytes, bytes], ...]


@dataclass(frozen=True, slots=True)
class End:
    """Every row was sent. The last one was read when ``complete_at`` (an lsn) was committed."""

    complete_at: int


@dataclass(frozen=True, slots=True)
class Resume:
    """Where an interrupted copy goes on: after this key of this table."""

    base: Point
    table: str
    after: bytes


SnapshotMessage = Begin | Rows | End
