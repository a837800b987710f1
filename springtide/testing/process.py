"""Processes that a local cluster is made of: started with a log file, ended by their id."""

from __future__ import annotations

import contextlib
import os
import random
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path

from springtide.ops.guard import END_WITH_STDIN

#: Below the range that the kernel takes outgoing connections' ports from: else one of those could sit
#: on a node's port while the node is down.
#: Each of pytest's workers has some of its own: one would take what another has chosen and not opened yet.
_WORKER = int("0" + os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")) % 4
_PORTS = range(20_000 + 3_000 * _WORKER, 23_000 + 3_000 * _WORKER)
_given: set[int] = set()


def free_port() -> int:
    """A loopback port that nothing listens on, and that this process has not given out before."""
    for port in random.sample(_PORTS, len(_PORTS)):
        if port in _given:
            continue
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise OSError(f"no free port from {_PORTS.start} to {_PORTS.stop - 1} on 127.0.0.1")


class Process:
    """One program, in a process group of its own, that can be started again."""

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        #: What this process has in its environment that others have not.
        self.environment: dict[str, str] = {}
        self.command = list(command)
        self.log = log
        self.paused = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self.running and self._process is not None else None

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    @property
    def status(self) -> int | None:
        """The exit status, None while it runs or before it first did."""
        return None if self._process is None else self._process.poll()

    def start(self) -> None:
        assert not self.running, f"{self.name} runs already"
        # Settings in the environment are meant for one node, not for all of a local cluster.
        environment = {key: value for key, value in os.environ.items() if not key.startswith("SPRINGTIDE_")}
        environment |= {END_WITH_STDIN: "1", **self.environment}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.PIPE,  # closed by the kernel however this process ends: see END_WITH_STDIN
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
                cwd=self.log.parent,
            )
        self.paused = False

    def signal(self, number: signal.Signals) -> None:
        if self.running and self._process is not None:
            self._process.send_signal(number)

    def pause(self) -> None:
        self.signal(signal.SIGSTOP)
        self.paused = True

    def resume(self) -> None:
        self.signal(signal.SIGCONT)
        self.paused = False

    def kill(self) -> None:
        """SIGKILL, and wait until the kernel has taken the process away."""
        if self._process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._close_pipe()
        self.paused = False

    def stop(self, seconds: float) -> bool:
        """SIGTERM; SIGKILL where that does not end it in time. Whether it ended by itself."""
        if self._process is None:
            return True
        if self.paused:
            self.resume()
        self.signal(signal.SIGTERM)
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
            return False
        self._close_pipe()
        return True

    def _close_pipe(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()

    def log_tail(self, lines: int = 30) -> str:
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text("utf-8", errors="replace").splitlines()[-lines:])
