"""What many runs came to: the figures that a claim about them rests on."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from springtide.testing.simulator.run import Report


@dataclass(slots=True)
class Tally:
    seeds: int = 0
    commits: int = 0
    takeovers: int = 0
    epochs: int = 0
    virtual_seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    #: Seeds in which something happened that is no fault of its own: a copy of the database, a pack.
    seen: Counter[str] = field(default_factory=Counter)
    failed: list[int] = field(default_factory=list)

    def add(self, report: Report) -> None:
        self.seeds += 1
        self.commits += report.commits
        self.takeovers += report.takeovers
        self.epochs += report.epochs
        self.virtual_seconds += report.virtual_seconds
        self.faults.update(report.faults)
        self.seen.update(report.seen)
        if report.failed:
            self.failed.append(report.seed)

    def lines(self) -> list[str]:
        """For a person, and for docs/reliability.md."""
        seeds = max(1, self.seeds)
        faults = sum(self.faults.values())
        return [
            f"{'seeds':24}{self.seeds:12,}",
            f"{'failed':24}{len(self.failed):12,}" + (f"   {self.failed[:20]}" if self.failed else ""),
            f"{'virtual hours':24}{self.virtual_seconds / 3600:12,.1f}",
            f"{'commits acknowledged':24}{self.commits:12,}   {self.commits / seeds:.1f} a seed",
            f"{'takeovers':24}{self.takeovers:12,}   {self.takeovers / seeds:.1f} a seed",
            f"{'epochs':24}{self.epochs:12,}   {self.epochs / seeds:.1f} a seed",
            f"{'faults':24}{faults:12,}   {faults / seeds:.1f} a seed",
            *(f"  {name:22}{count:12,}" for name, count in sorted(self.faults.items())),
            *(f"{name:24}{count:12,}" for name, count in sorted(self.seen.items())),
        ]
