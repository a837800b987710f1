"""The file that one client process writes its history to, one JSON line for each event.

Every line is one write to a file that is only appended to: threads share it, and what was
written before the process is killed stays written.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from springtide.testing.checkers.history import History, parse


class Recorder:
    def __init__(self, file: Path, client: str) -> None:
        """``client`` is the name of this process in the history: no other has it."""
        self.client = client
        self._fd = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o640)

    def write(self, event: str, **fields: object) -> None:
        """With ``at``, the moment, in nanoseconds of a clock that all processes of this machine share."""
        line = json.dumps({"event": event, "at": time.monotonic_ns(), **fields}) + "\n"
        os.write(self._fd, line.encode())

    def close(self) -> None:
        os.close(self._fd)


def read_history(files: Iterable[Path]) -> History:
    """What all these clients wrote down, as one history."""
    return parse(_lines(files))


def _lines(files: Iterable[Path]) -> Iterator[str]:
    for file in files:
        with file.open() as lines:
            yield from lines
