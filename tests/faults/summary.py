"""What a run came to, as lines and as JSON.

Pure.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields

#: After healing, everything is in sync and serves within this time.
HEAL_SECONDS_MAX = 10.0
#: What an acknowledged commit that is not there, and one that is there twice, are called by the checkers.
LOST, DOUBLED, UNDOCUMENTED = "lost commit", "committed twice", "undocumented error"


@dataclass
class Summary:
    seed: int
    nodes: int
    seconds: float = 0.0
    #: How often each kind of fault was tried.
    tried: Counter[str] = field(default_factory=Counter)
    #: By kind, why it was not, and how often.
    not_tried: dict[str, Counter[str]] = field(default_factory=dict)
    #: Seconds from the end of each round's faults until all were in sync, and until a commit was acknowledged.
    heals: list[float] = field(default_factory=list)
    serving: list[float] = field(default_factory=list)
    #: Until all were in sync where a node had to copy all, which takes as long as there is much.
    copies: list[float] = field(default_factory=list)
    #: Of ``heals`` and ``serving``, those that took longer than they may.
    late: int = 0
    #: And those that did while others used much of this machine, which says nothing of the cluster.
    late_beside_others: int = 0
    #: The part of all processors that others used after each round.
    others: list[float] = field(default_factory=list)
    transactions: dict[str, int] = field(default_factory=dict)
    commits: int = 0
    takeovers: int = 0
    anomalies: list[str] = field(default_factory=list)
    #: The run itself could not go on.
    failure: str = ""

    def missed(self, kind: str, why: str) -> None:
        self.not_tried.setdefault(kind, Counter())[why] += 1

    @property
    def faults(self) -> int:
        return self.tried.total()

    def healed(self, serving: float, in_sync: float, copies: bool, others: float, others_max: float) -> None:
        """Note how long it took, and which part of the machine others used meanwhile."""
        self.serving.append(serving)
        (self.copies if copies else self.heals).append(in_sync)
        self.others.append(others)
        if serving > HEAL_SECONDS_MAX or (in_sync > HEAL_SECONDS_MAX and not copies):
            if others > others_max:
                self.late_beside_others += 1
            else:
                self.late += 1

    @property
    def good(self) -> bool:
        return not (self.anomalies or self.failure or self.late) and self.commits > 0

    def lines(self) -> list[str]:
        never = [kind for kind in self.not_tried if not self.tried[kind]]
        return [
            f"seed {self.seed}, {self.nodes} nodes, {self.seconds / 60:.1f} minutes: {self.faults} faults of "
            f"{len(+self.tried)} kinds, {self.takeovers} takeovers",
            *(f"  {count:4d}  {kind}" for kind, count in sorted(self.tried.items())),
            *(f"  not tried: {kind}: {self._why(kind)}" for kind in never),
            "transactions: " + ", ".join(f"{count} {outcome}" for outcome, count in self.transactions.items())
            + f"; {self.commits} commits acknowledged",
            f"serving after healing, {len(self.serving)} times: {quantiles(self.serving)}",
            f"in sync after healing, {len(self.heals)} times: {quantiles(self.heals)}",
            f"in sync after a disk was lost, {len(self.copies)} times: {quantiles(self.copies)}",
            f"in sync or serving later than {HEAL_SECONDS_MAX:g} s: {self.late} times, and {self.late_beside_others} "
            f"times while others used much of this machine ({100 * mean(self.others):.0f} % of it after all healings)",
            f"acknowledged commits lost: {self._counted(LOST)}; doubled: {self._counted(DOUBLED)}; undocumented client "
            f"errors: {self._counted(UNDOCUMENTED)}; anomalies in all: {len(self.anomalies)}",
            *self.anomalies[:20],
            *([f"the run failed: {self.failure}"] if self.failure else []),
        ]  # fmt: skip

    def as_json(self) -> Mapping[str, object]:
        told = {field.name: getattr(self, field.name) for field in fields(self)}
        return {**told, "faults": self.faults, "good": self.good}

    def _why(self, kind: str) -> str:
        return "; ".join(f"{why} ({count} times)" for why, count in self.not_tried[kind].items())

    def _counted(self, kind: str) -> int:
        return sum(anomaly.startswith(kind) for anomaly in self.anomalies)


def mean(parts: Sequence[float]) -> float:
    return sum(parts) / len(parts) if parts else 0.0


def quantiles(seconds: Sequence[float]) -> str:
    if not seconds:
        return "never"
    ordered = sorted(seconds)
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * part))] for name, part in _PARTS.items()}
    return ", ".join(f"{name} {value:.1f} s" for name, value in at.items())


_PARTS = {"p50": 0.5, "p95": 0.95, "worst": 1.0}
