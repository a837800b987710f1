"""Client processes that run workloads against a local cluster as long as a block lasts."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
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
        prefix: Callable[[int], Sequence[str]] = lambda number: (),
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """``prefix`` is what the command of each process begins with, ``environment`` what all have more in theirs."""
        self._addresses = ",".join(addresses)
        self._directory = directory
        self._options = ["--workloads", ",".join(workloads), "--threads", str(threads), "--seed", str(seed)]
        self._count = processes
        self._prefix = prefix
        self._environment = dict(environment or {})
        self._processes: list[subprocess.Popen[bytes]] = []
        self._syncs: list[str] = []
        self._running: list[int] = []
        self._killed: set[int] = set()

    def __enter__(self) -> Self:
        for _ in range(self._count):
            self._start()
        return self

    def _start(self, sync: str | None = None) -> None:
        number = len(self._processes)
        self._syncs.append(sync or SYNCS[number % len(SYNCS)])
        command = [*self._prefix(number), sys.executable, "-m", "springtide.testing.workloads"]
        command += ["--nodes", self._addresses, "--history", str(self._file(number)), "--number", str(number)]
        command += [*self._options, "--sync", self._syncs[number]]
        with self._log(number).open("wb") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=log, stderr=log, env=os.environ | self._environment
            )
        self._processes.append(process)
        self._running.append(number)

    @property
    def running(self) -> Sequence[int]:
        """The numbers of the processes that were not killed."""
        return tuple(self._running)

    def replace(self, number: int) -> int:
        """SIGKILL one client, and start another of its kind; the number of the new one."""
        self._processes[number].kill()
        self._processes[number].wait()
        self._killed.add(number)
        self._running.remove(number)
        self._start(self._syncs[number])
        return self._running[-1]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Ask all clients to end what they do. Raises ``ClientFailed`` where one does not, or ended badly."""
        for process in self._processes:
            assert process.stdin is not None
            process.stdin.close()
        ended = [number in self._killed or self._ended(process) for number, process in enumerate(self._processes)]
        if kind is None and not all(ended):
            number = ended.index(False)
            raise ClientFailed(f"client {number} failed: {self._log(number).read_text(errors='replace')[-4000:]}")

    def kill(self) -> None:
        """SIGKILL all clients: what they were doing is unknown."""
        for process in self._processes:
            process.kill()
            process.wait()
        self._killed.update(self._running)
        self._running.clear()

    def history(self) -> History:
        """What was written down so far."""
        return read_history(self.files)

    @property
    def files(self) -> Sequence[Path]:
        """Of the histories, as far as they are there."""
        return [file for number in range(len(self._processes)) if (file := self._file(number)).exists()]

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
