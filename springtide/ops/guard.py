"""A process that another one started for itself ends with it, however that one ends.

The parent keeps the other end of this process's standard input; the kernel closes
it when the parent is gone, also after ``kill -9``.
"""

from __future__ import annotations

import os
import sys
import threading

#: Set in the environment by whoever keeps the pipe, such as ``springtide.testing.LocalCluster``.
END_WITH_STDIN = "SPRINGTIDE_END_WITH_STDIN"


def end_with_stdin() -> None:
    """Begin to watch, if the environment asks for it."""
    if os.environ.pop(END_WITH_STDIN, ""):
        threading.Thread(target=_watch, name="springtide-guard", daemon=True).start()


def _watch() -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    os._exit(1)
