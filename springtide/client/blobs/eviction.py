"""Which files of a blob cache are removed, so that it keeps within its bound?

Pure. What is in use is never named here where the caller knows of it; of what it cannot
know, because another process or a path is meant, the time of the last use decides.
"""

from __future__ import annotations

from collections.abc import Iterable
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


def to_remove(files: Iterable[Kept], bytes_max: int, now: float) -> list[Kept]:
    """Those whose last use is longest ago, until the rest has at most ``bytes_max``, or all others are spared.

    A file whose last use lies in the future (another machine's clock) is spared like one used just now.
    """
    known = list(files)
    excess = sum(file.bytes for file in known) - bytes_max
    removed = []
    for file in sorted(known, key=lambda file: (file.used, file.path)):
        if excess <= 0 or file.used > now - SPARED_SECONDS:
            break
        removed.append(file)
        excess -= file.bytes
    return removed


def check_every(bytes_max: int, percent: int) -> int:
    """After how many new bytes the cache is looked through; that much less than the bound is kept then."""
    return bytes_max * percent // 100
