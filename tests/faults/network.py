"""Machines of a run, each in a network namespace of its own, with what lies between them.

Machine n owns two addresses. 10.77.0.n is the one that is announced; on every *other* machine it belongs to that
machine's own loopback, where a proxy of the link listens (``links``), so that what travels between two machines can be
delayed and broken. Proxies reach the real machine at 10.78.0.n, over a bridge in a namespace of its own; there packets
are dropped on arrival (``nft``), by the sender's address, so that a cut can be one way.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from collections.abc import Collection, Iterable, Sequence
from typing import Protocol

from tests.faults.leftovers import NAMESPACES, namespace

_HUB = "hub"
#: The machine of whoever asks nodes for their status: no link of it is ever touched.
OPERATOR = "op"
_CLONE_NEWNET = 0x40000000
_FILTER = """
table inet springtide {
    set cut { type ipv4_addr; }
    chain input { type filter hook input priority 0; policy accept; ip saddr @cut drop; }
}
"""
Link = tuple[str, str]


class Network(Protocol):
    #: What cannot be done here, and why; empty where everything can.
    missing: str

    def prefix(self, machine: str) -> Sequence[str]:
        """What a command begins with that runs on ``machine``."""

    def bind(self, machine: str) -> str:
        """The host that a server on ``machine`` listens at."""

    def host(self, machine: str) -> str:
        """The host at which others reach ``machine``."""

    def cut(self, links: Iterable[Link]) -> None:
        """Nothing arrives on these links any more, from the first to the second machine."""

    def heal(self) -> None: ...


class Loopback:
    """Where there are no namespaces: everything on this machine's loopback, and no link can be touched."""

    def __init__(self, missing: str) -> None:
        self.missing = missing

    def prefix(self, machine: str) -> Sequence[str]:
        return ()

    def bind(self, machine: str) -> str:
        return "127.0.0.1"

    host = bind

    def cut(self, links: Iterable[Link]) -> None:
        raise AssertionError(f"nothing can be cut: {self.missing}")

    def heal(self) -> None:
        pass


class Namespaces:
    missing = ""

    def __init__(self, id: str, machines: Sequence[str]) -> None:
        self.machines = tuple(machines)
        self._id = id
        self._numbers = {machine: number for number, machine in enumerate((*machines, OPERATOR), 1)}
        self._cut: set[Link] = set()
        self._make()

    # -- where things are ---------------------------------------------------------------------

    def name(self, machine: str) -> str:
        return namespace(self._id, machine)

    def prefix(self, machine: str) -> Sequence[str]:
        return ("nsenter", f"--net={NAMESPACES / self.name(machine)}")

    def bind(self, machine: str) -> str:
        return "0.0.0.0"

    def host(self, machine: str) -> str:
        return f"10.77.0.{self._numbers[machine]}"

    def wire(self, machine: str) -> str:
        """Where the machine is really reached."""
        return f"10.78.0.{self._numbers[machine]}"

    def enter(self) -> None:
        """This process becomes the operator's machine; so do threads and processes that it starts from now on."""
        enter(os.open(NAMESPACES / self.name(OPERATOR), os.O_RDONLY | os.O_CLOEXEC))

    # -- what is done to them -----------------------------------------------------------------

    def cut(self, links: Iterable[Link]) -> None:
        for source, target in set(links) - self._cut:
            self._nft(target, f"add element inet springtide cut {{ {self.wire(source)} }}")
            self._cut.add((source, target))

    def heal(self) -> None:
        for machine in {target for _, target in self._cut}:
            self._nft(machine, "flush set inet springtide cut")
        self._cut.clear()

    # -- within -------------------------------------------------------------------------------

    def _make(self) -> None:
        _ip(f"netns add {self.name(_HUB)}", *(f"netns add {self.name(machine)}" for machine in self._numbers))
        hub = ["link add bridge type bridge", "link set bridge up", "link set lo up"]
        for machine in self._numbers:
            hub += [f"link add to-{machine} type veth peer name eth0 netns {self.name(machine)}"]
            hub += [f"link set to-{machine} master bridge up"]
        _ip(*hub, inside=self.name(_HUB))
        for machine in self._numbers:
            others = [other for other in self.machines if other != machine]
            own = [f"addr add {self.wire(machine)}/24 dev eth0", "link set eth0 up", "link set lo up"]
            if machine == OPERATOR:
                own += [f"route add {self.host(other)}/32 via {self.wire(other)}" for other in others]
            else:
                own += [f"addr add {self.host(each)}/32 dev lo" for each in self.machines]
                self._nft(machine, _FILTER)
            _ip(*own, inside=self.name(machine))

    def _nft(self, machine: str, text: str) -> None:
        _run([*self.prefix(machine), "nft", "-f", "-"], text)


def missing(commands: Collection[str] = ("ip", "nft", "nsenter")) -> str:
    """Why there can be no namespaces here; empty where there can."""
    if os.geteuid() != 0:
        return "network namespaces are root's to make"
    lacking = [command for command in commands if shutil.which(command) is None]
    if lacking:
        return f"{', '.join(lacking)} missing: make system-deps"
    probe = namespace("000000", f"probe-{os.getpid()}")
    done = subprocess.run(["ip", "netns", "add", probe], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        return f"ip netns add: {done.stderr.strip()}"
    subprocess.run(["ip", "netns", "delete", probe], capture_output=True, check=False)
    return ""


def enter(fd: int) -> None:
    """The calling thread, and what it starts, is in that namespace from here on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(fd, _CLONE_NEWNET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"setns: {os.strerror(number)}")


def _ip(*lines: str, inside: str | None = None) -> None:
    _run(["ip", *(["-n", inside] if inside else []), "-batch", "-"], "\n".join(lines) + "\n")


def _run(command: Sequence[str], text: str) -> None:
    done = subprocess.run(command, input=text, capture_output=True, text=True, timeout=30, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}\n{text}")
