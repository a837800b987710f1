"""Which files of a blob cache are removed, so that it keeps within its bound?

Pure. What is in use is never named here where the caller knows of it; of what it cannot
know, because another process or a path is meant, the time of the last use decides.
"""

from __future__ import annotations

from collections.abc import Container, Iterable
from dataclasses import dataclass

#: A file that was used, or whose path was handed out, within so many seconds is spared. Whoever
#: holds on to a path says so again within this time (``leases``).
SPARED_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Kept:
    """A file in the cache. ``used`` is when it was last asked for, in seconds of the wall clock."""

    path: str
    bytes: int
    used: float


def excess(files: Iterable[Kept], bytes_max: int) -> int:
    """How many bytes too many there are; files in use count, too."""
    return sum(file.bytes for file in files) - bytes_max


def removable(files: Iterable[Kept], in_use: Container[str], now: float) -> list[Kept]:
    """Those that may go, in this order, until it fits: the longest unused first.

    A file whose last use lies in the future (another machine's clock) is spared like one used just now.
    """
    may_go = (file for file in files if file.path not in in_use and file.used <= now - SPARED_SECONDS)
    return sorted(may_go, key=lambda file: (file.used, file.path))


def check_every(bytes_max: int, percent: int) -> int:
    """After how many new bytes the cache is looked through; that much less than the bound is kept then."""
    return bytes_max * percent // 100
