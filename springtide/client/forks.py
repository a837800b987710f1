"""What a fork needs: nothing of gRPC alive while it happens, and sessions of its own for the child.

``ZODB.DB()`` itself loads the root, so every server that preloads its application
forks after first use. gRPC does not survive a fork in which any of its threads runs (its own
support for it, GRPC_ENABLE_FORK_SUPPORT, has been seen to hang under load). Where its last
channel is closed, though, it ends whole within milliseconds, and can be begun anew on both
sides. So every session ends before a fork. Requests under way in other threads are
repeated after it as after any lost session, and what became of commits is asked for.
"""

from __future__ import annotations

import logging
import os
import threading
import time
import weakref
from pathlib import Path
from typing import Protocol, runtime_checkable

log = logging.getLogger(__name__)

#: A fork waits no longer for our threads, which have only to hear that their streams ended, ...
QUIET_SECONDS = 5.0
#: ... nor for gRPC's: an application that uses gRPC itself keeps them alive.
GRPC_SECONDS = 0.5
_GRPC_THREADS = ("grpc_", "event_engine", "lifeguard", "timer_manager")


class Part(Protocol):
    def forked(self) -> None:
        """In the child: begin anew, and touch nothing that the parent uses."""


@runtime_checkable
class Quieted(Protocol):
    def fork_begins(self, deadline: float) -> None:
        """Have nothing of gRPC in use, and no state half changed, until ``fork_ended`` or ``forked``."""

    def fork_ended(self) -> None:
        """In the parent: go on. Called on the same thread."""


_parts: list[weakref.ref[Part]] = []
_forking = threading.RLock()


def register(*parts: Part) -> None:
    """Tell these of every fork, in this order when it begins and in the child, backwards when it has ended."""
    _parts[:] = [weakref.ref(part) for part in (*_living(), *parts)]


def _living() -> list[Part]:
    return [part for each in list(_parts) if (part := each()) is not None]


def _before() -> None:
    _forking.acquire()
    deadline = time.monotonic() + QUIET_SECONDS
    quieted = [part for part in _living() if isinstance(part, Quieted)]
    for part in quieted:
        part.fork_begins(deadline)
    if quieted:
        _wait_for_grpc(time.monotonic() + GRPC_SECONDS)


def _wait_for_grpc(deadline: float) -> None:
    """Until gRPC has ended its threads, which it does on a thread of its own."""
    while time.monotonic() < deadline and any(name.startswith(_GRPC_THREADS) for name in _thread_names()):
        time.sleep(0.001)


def _thread_names() -> list[str]:
    """Of all threads, native ones too; none where the system does not tell."""
    names = []
    for task in Path("/proc/self/task").glob("*/comm"):
        try:
            names.append(task.read_text())
        except OSError:
            continue  # it has just ended
    return names


def _in_parent() -> None:
    for part in reversed(_living()):
        if isinstance(part, Quieted):
            part.fork_ended()
    _forking.release()


def _in_child() -> None:
    global _forking
    _forking = threading.RLock()
    for part in _living():
        part.forked()


os.register_at_fork(before=_before, after_in_parent=_in_parent, after_in_child=_in_child)
