"""Seeds that find the planted bugs, so that the gate need not look for them: ``make mutants REWRITE=1`` writes them.

They hold until something that a run depends on changes. Then the gate looks on, as far as a mutant's budget goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from tests.simulation.mutants.planting import Mutant

FILE = Path(__file__).with_name("seeds.json")


def known() -> Mapping[str, int]:
    seeds: dict[str, int] = json.loads(FILE.read_text())
    return seeds


def write(found: Mapping[str, int]) -> None:
    FILE.write_text(json.dumps(dict(sorted({**known(), **found}.items())), indent=1) + "\n")


def to_try(mutant: Mutant) -> Iterator[int]:
    """The one that is known first, then the others of its budget."""
    first = known().get(mutant.name)
    if first is not None:
        yield first
    yield from (seed for seed in range(1, mutant.budget + 1) if seed != first)
