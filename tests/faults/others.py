"""How much of this machine others used meanwhile: a cluster is not late where it was not let run."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

#: What others may use of all processors before a time says more about them than about the cluster.
SHARE_MAX = 0.2


@dataclass(frozen=True, slots=True)
class Used:
    """Ticks since the machine started: of all processors, of those the busy ones, and of the run's own processes."""

    total: int
    busy: int
    own: dict[int, int]


def used(session: Collection[int]) -> Used:
    """``session`` are processes of the run; those that these have started count, too."""
    _, *ticks = Path("/proc/stat").read_text().partition("\n")[0].split()
    user, nice, system, idle, wait, *others = map(int, ticks[:8])
    busy = user + nice + system + sum(others)
    return Used(busy + idle + wait, busy, {pid: _ticks(pid) for pid in _with_children(session)})


def share(before: Used, after: Used) -> float:
    """The part of all processors that others used between the two."""
    own = sum(ticks - before.own.get(pid, 0) for pid, ticks in after.own.items())
    total = after.total - before.total
    return max(0.0, (after.busy - before.busy - own) / total) if total else 0.0


def _with_children(pids: Collection[int]) -> set[int]:
    children: dict[int, list[int]] = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            children.setdefault(int(_fields(stat)[1]), []).append(int(stat.parent.name))
    found, waiting = set(), list(pids)
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting += children.get(pid, ())
    return found


def _ticks(pid: int) -> int:
    """Of the process, and of its children that have ended."""
    try:
        return sum(map(int, _fields(Path(f"/proc/{pid}/stat"))[11:15]))
    except OSError:
        return 0


def _fields(stat: Path) -> list[str]:
    """From the state on: names may contain anything."""
    return stat.read_text().rpartition(")")[2].split()
