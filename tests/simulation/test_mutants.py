"""The mutation gate: planted bugs are found, and where nothing is planted nothing is found with the same seeds."""

from __future__ import annotations

import pytest

from springtide.testing.simulator.cluster import Parts
from tests.simulation.mutants import MUTANTS, Mutant, seeds

KNOWN = seeds.known()
#: Each run once, though it finds several bugs.
RUNS = list({(MUTANTS[name].run, seed): (name, seed) for name, seed in sorted(KNOWN.items())}.values())


@pytest.mark.parametrize("mutant", MUTANTS.values(), ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    assert mutant.hunt(seeds.to_try(mutant)) is not None, f"nothing in {mutant.budget} seeds: {mutant.what}"


@pytest.mark.parametrize(("name", "seed"), RUNS)
def test_it_is_the_bug_that_was_found(name: str, seed: int) -> None:
    report = MUTANTS[name].run(seed, Parts())

    assert not report.failed, "\n".join([report.summary(), *report.violations, *report.story[-60:]])


def test_every_known_seed_is_of_a_mutant() -> None:
    assert KNOWN.keys() <= MUTANTS.keys()


def test_what_was_planted_is_taken_out_again() -> None:
    for mutant in MUTANTS.values():
        with mutant.planted() as bench:
            places = list(bench.where)
        assert places, mutant.name
        with mutant.planted() as again:
            assert again.where == places
