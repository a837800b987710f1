"""A node that dies, or stops, at a place in its code where nobody could hit it from outside.

``python -m tests.faults.failpoints DIRECTORY node --config FILE`` is ``springtide node --config FILE``, but for this:
whenever it passes one of ``POINTS``, it looks for a file of that name in the directory, and where there is one, takes
it away and ends by SIGKILL. The product has no such places, so nothing can switch them on: they are put around its
methods here.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import os
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Point:
    """Before or after a method, named ``module:Class.method``."""

    method: str
    after: bool
    meaning: str


POINTS = {
    "vote": Point("springtide.primary.reign:Reign.vote", True, "the vote took place, and nobody is told"),
    "finish": Point("springtide.primary.reign:Reign._finish", True, "its entry is on its way to all disks"),
    "commit": Point("springtide.primary.leadership:Leadership._commit", False, "all have it, and nobody knows"),
    "answer": Point("springtide.node.requests:Requests.finished", False, "it is committed, and nobody is told"),
    "takeover": Point("springtide.primary.reign:Reign.__init__", True, "its reign has begun, and nobody has heard"),
    "append": Point("springtide.replica.subscription:Subscription._append", True, "entries wait for its sync"),
    "synced": Point("springtide.replica.subscription:Subscription._durable", False, "synced, and not acknowledged"),
    "applied": Point("springtide.engine.state:State.apply", True, "applied, and the log does not know yet"),
    "copy": Point("springtide.engine.engine:Engine.import_rows", True, "in the middle of a copy of all"),
    "file": Point("springtide.engine.intake:Part.finish", False, "a blob is here, and has no name yet"),
}


def install(directory: Path) -> None:
    """In this process, and for good."""
    for name, point in POINTS.items():
        module, _, path = point.method.partition(":")
        owner, _, method = path.partition(".")
        cls = getattr(importlib.import_module(module), owner)
        setattr(cls, method, _around(getattr(cls, method), directory / name, point.after))


def _around(original: Callable[..., Any], armed: Path, after: bool) -> Callable[..., Any]:
    if inspect.iscoroutinefunction(original):

        @functools.wraps(original)
        async def wrapped_later(*arguments: Any, **named: Any) -> Any:
            if not after:
                _passed(armed)
            result = await original(*arguments, **named)
            if after:
                _passed(armed)
            return result

        return wrapped_later

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        if not after:
            _passed(armed)
        result = original(*arguments, **named)
        if after:
            _passed(armed)
        return result

    return wrapped


def _passed(armed: Path) -> None:
    if armed.exists():
        armed.unlink()
        os.kill(os.getpid(), signal.SIGKILL)


def main() -> int:
    from springtide import __main__ as springtide

    install(Path(sys.argv.pop(1)))
    return springtide.main()


if __name__ == "__main__":
    sys.exit(main())
