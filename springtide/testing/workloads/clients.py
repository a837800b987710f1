"""Client processes that run workloads against a local cluster as long as a block lasts."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from springtide.errors import SpringtideError
from springtide.testing.checkers.history import History
from springtide.testing.recording.recorder import read_history

#: Between them they try every promise about how old a snapshot may be.
SYNCS = ("session", "strict", "latest", "session")
_END_SECONDS = 120.0


class ClientFailed(SpringtideError):
    """A client process ended with an error, or did not end: what it printed follows."""


class Clients:
    def __init__(
        self,
        addresses: Sequence[str],
        directory: Path,
        workloads: Sequence[str],
        *,
        processes: int = 4,
        threads: int = 2,
        seed: int = 0,
    ) -> None:
        self._addresses = ",".join(addresses)
        self._directory = directory
        self._options = ["--workloads", ",".join(workloads), "--threads", str(threads), "--seed", str(seed)]
        self._count = processes
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        for number in range(self._count):
            command = [sys.executable, "-m", "springtide.testing.workloads", "--nodes", self._addresses]
            command += ["--history", str(self._file(number)), "--number", str(number), *self._options]
            command += ["--sync", SYNCS[number % len(SYNCS)]]
            with self._log(number).open("wb") as log:
                self._processes.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=log, stderr=log))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ask all clients to end what they do. Raises ``ClientFailed`` where one does not, or ended badly."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        ended = [self._ended(process) for process in self._processes]
        if kind is None and not all(ended):
            number = ended.index(False)
            raise ClientFailed(f"client {number} failed: {self._log(number).read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        """SIGKILL all clients: what they were doing is unknown."""
        for process in self._processes:
            process.kill()
            process.wait()

    def history(self) -> History:
        """What was written down so far."""
        return read_history(file for number in range(self._count) if (file := self._file(number)).exists())

    def _ended(self, process: subprocess.Popen[bytes]) -> bool:
        try:
            return process.wait(_END_SECONDS) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            return False

    def _file(self, number: int) -> Path:
        return self._directory / f"client-{number}.jsonl"

    def _log(self, number: int) -> Path:
        return self._directory / f"client-{number}.log"
