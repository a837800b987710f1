"""By which clock are tids made?

Pure. A clock is only ever a hint; but one that is far ahead would push tids into the future
for good, because tids never fall. So this node's clock is compared with those of its
followers, and one that is ahead of most of them by too much is not used.
"""

from __future__ import annotations

from collections.abc import Sequence


def ahead(own: float, others: Sequence[float], ahead_max: float) -> bool:
    """Whether ``own`` is ahead of most of ``others`` by more than ``ahead_max``; all in seconds, at one moment."""
    return 2 * sum(own - other > ahead_max for other in others) > len(others)


def reading(own: float, others: Sequence[float], ahead_max: float) -> float:
    """The time to make tids of: this node's, or where that is not to be used, what half of the others have reached."""
    if not ahead(own, others, ahead_max):
        return own
    return sorted(others)[(len(others) - 1) // 2]
