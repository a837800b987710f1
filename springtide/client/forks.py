"""What a fork leaves behind: a child opens its own sessions, and never touches its parent's.

``ZODB.DB()`` itself loads the root, so every server that preloads its application
forks after first use.
"""

from __future__ import annotations

import os
import weakref
from typing import Protocol


class _Resettable(Protocol):
    def forked(self) -> None: ...


_parts: weakref.WeakSet[_Resettable] = weakref.WeakSet()


def register(*parts: _Resettable) -> None:
    """``forked`` of each part is called in every child that this process forks."""
    for part in parts:
        _parts.add(part)


def _in_child() -> None:
    for part in list(_parts):
        part.forked()


os.register_at_fork(after_in_child=_in_child)
