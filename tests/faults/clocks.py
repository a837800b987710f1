"""Wall clocks of nodes that can jump: a preloaded library (``clock.c``) reads how far, from a file for each node.

Only the wall clock: what counts seconds goes on as it is, as when an operator or a broken time server sets a clock.
"""

from __future__ import annotations

import os
import shutil
import struct
import subprocess
from collections.abc import Mapping
from pathlib import Path

_SOURCE = Path(__file__).with_name("clock.c")


class Clock:
    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self._directory = directory
        self._library = directory / "clock.so"
        #: Why no clock can jump here; empty where they can.
        self.missing = _compile(self._library)

    def environment(self, node: str) -> Mapping[str, str]:
        """What a process has in its environment whose clock is to jump."""
        self.jump(node, 0)
        if self.missing:
            return {}
        return {"LD_PRELOAD": str(self._library), "CLOCK_OFFSET": str(self._directory / node)}

    def jump(self, node: str, seconds: int) -> None:
        """From now on, the node's clock is so far ahead of the machine's (or behind)."""
        fd = os.open(self._directory / node, os.O_RDWR | os.O_CREAT, 0o600)
        os.pwrite(fd, struct.pack("=q", seconds), 0)
        os.close(fd)


def _compile(target: Path) -> str:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        return "a C compiler missing: make system-deps"
    command = [compiler, "-O2", "-Wall", "-Werror", "-shared", "-fPIC", "-o", str(target), str(_SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    return "" if done.returncode == 0 else f"the library of clocks does not compile: {done.stderr.strip()}"
