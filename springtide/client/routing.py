"""Where the nodes are, and which of them to ask.

Pure. ``Directory`` knows who leads and at which addresses nodes can be found;
``Balance`` spreads reads over them. Both are told the time, and chance.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True)
class Node:
    id: str
    address: str
    primary: bool = False
    in_sync: bool = False


@dataclass(frozen=True, slots=True)
class Topology:
    epoch: int = 0
    primary: str = ""  # node id; empty while there is none
    nodes: tuple[Node, ...] = ()
    #: Said of itself by the node that told this: what is read there may be old.
    stale: bool = field(default=False, compare=False)


@dataclass(slots=True)
class Directory:
    """What is known of the cluster, from the newest that any node said.

    The addresses that the user gave stay valid for ever: where nodes announce
    addresses that a client cannot reach (another network), the given ones serve.
    """

    seeds: tuple[str, ...]
    topology: Topology = Topology()
    #: Which node answered at an address.
    answered: dict[str, str] = field(default_factory=dict)
    #: Where a node that is not the primary said that the primary is.
    hint: str = ""

    def learn(self, topology: Topology) -> bool:
        """Whether this is news. What an older epoch says is not.

        A node that does not know the primary of an epoch, because it is about to become it,
        does not make us forget who that is.
        """
        if topology.epoch == self.topology.epoch and not topology.primary:
            topology = replace(topology, primary=self.topology.primary)
        if topology.epoch < self.topology.epoch or topology == self.topology:
            return False
        if topology.primary and topology.primary != self.topology.primary:
            self.hint = ""
        self.topology = topology
        return True

    def addresses_of(self, node: str) -> tuple[str, ...]:
        announced = [n.address for n in self.topology.nodes if n.id == node and n.address]
        return _distinct([*announced, *(a for a in self.seeds if self.answered.get(a) == node)])

    def primary_addresses(self) -> tuple[str, ...]:
        """Where to look for the primary, best first; empty while nobody knows."""
        known = self.addresses_of(self.topology.primary) if self.topology.primary else ()
        return _distinct([self.hint, *known] if self.hint else known)

    def addresses(self) -> tuple[str, ...]:
        """Every address worth a try, the primary's first."""
        announced = [n.address for n in self.topology.nodes if n.address]
        return _distinct([*self.primary_addresses(), *announced, *self.seeds])

    def others(self, nodes: Collection[str]) -> tuple[str, ...]:
        """One address of every known node that is none of ``nodes``."""
        found = {n.id: n.address for n in self.topology.nodes if n.address and n.id not in nodes}
        return tuple(found.values())


#: A node that failed is not asked first for this long; it doubles with every failure in a row.
PENALTY_SECONDS, PENALTY_SECONDS_MAX = 0.25, 5.0
#: A node that had not caught up with us needs one more message from the primary, usually.
BEHIND_SECONDS = 0.05
#: Weight of the newest answer in the average latency.
_NEWEST = 0.2


@dataclass(slots=True)
class _Load:
    outstanding: int = 0
    latency: float = 0.0  # seconds, a moving average; 0: not known yet, so worth a try
    failures: int = 0
    avoided_until: float = 0.0


@dataclass(slots=True)
class Balance:
    """Reads go to the better of two nodes picked by chance: spread, and away from slow ones."""

    loads: dict[str, _Load] = field(default_factory=dict)

    def choose(self, nodes: Collection[str], now: float, chance: float) -> str | None:
        """One of ``nodes``, or None if there are none. ``chance`` is in [0, 1)."""
        if not nodes:
            return None
        known = sorted(nodes)
        loads = {node: self.loads.setdefault(node, _Load()) for node in known}
        usable = [node for node in known if loads[node].avoided_until <= now]
        if not usable:
            return min(known, key=lambda node: loads[node].avoided_until)
        first = int(chance * len(usable))
        second = (first + 1) % len(usable)
        return min(usable[first], usable[second], key=lambda node: self._expected(loads[node]))

    def started(self, node: str) -> None:
        self.loads.setdefault(node, _Load()).outstanding += 1

    def answered(self, node: str, seconds: float) -> None:
        load = self._ended(node)
        load.latency = seconds if not load.latency else load.latency + _NEWEST * (seconds - load.latency)
        load.failures = 0

    def behind(self, node: str, now: float) -> None:
        """The node could not show as much as this client has already seen."""
        self._ended(node).avoided_until = now + BEHIND_SECONDS

    def failed(self, node: str, now: float) -> None:
        load = self._ended(node)
        load.failures += 1
        penalty = PENALTY_SECONDS * 2 ** min(load.failures - 1, 10)
        load.avoided_until = now + min(penalty, PENALTY_SECONDS_MAX)

    def released(self, node: str) -> None:
        """It was chosen for something whose duration says nothing."""
        self._ended(node)

    def _ended(self, node: str) -> _Load:
        load = self.loads.setdefault(node, _Load())
        load.outstanding = max(0, load.outstanding - 1)
        return load

    @staticmethod
    def _expected(load: _Load) -> float:
        return (load.outstanding + 1) * load.latency


def backoff_seconds(failures: int, chance: float) -> float:
    """How long to wait before trying an address again: 20 to 500 ms, spread by chance."""
    return float(min(0.5, 0.02 * 2 ** min(failures, 10)) * (0.5 + 0.5 * chance))


def _distinct(addresses: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(address for address in addresses if address))
