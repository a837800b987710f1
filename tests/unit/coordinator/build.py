"""Words of the coordinator's tests."""

from __future__ import annotations

from springtide.coordinator.store import Announcement, View
from springtide.coordinator.topology import Progress, Record
from springtide.records.ids import Member
from tests.unit.build import member


def members(names: str) -> frozenset[Member]:
    """``"a b2"``: the first incarnation of a, the second of b."""
    return frozenset(one(name) for name in names.split())


def one(name: str) -> Member:
    return member(name[0], name[1:] or "1")


def record(
    in_sync: str = "a b c",
    *,
    primary: str = "a",
    epoch: int = 1,
    minimum: int = 2,
    uptime: str = "",
    change: str = "c0",
) -> Record:
    """Node a's first run has the uptime ``a.1``."""
    return Record("x", "h", epoch, one(primary), uptime or f"{primary[0]}.1", members(in_sync), minimum, change)


def progress(
    name: str,
    acked: int | None = 10,
    *,
    heard: float = 100.0,
    electable: bool = True,
    complete: bool = True,
    owes_since: float | None = None,
) -> Progress:
    return Progress(one(name), acked, heard, electable, complete, owes_since)


def view(shown: Record | None, announced: str = "", revision: int = 1) -> View:
    """``announced``: ``"a.1 b.2"`` is the first run of a and the second of b."""
    announcements = {}
    for uptime in announced.split():
        node = one(uptime[0]).node
        announcements[node] = Announcement(node, f"host-{node}:1", "1", uptime)
    return View(revision if shown is not None else 0, shown, announcements)
