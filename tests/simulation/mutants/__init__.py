"""Bugs that the simulator must find: planted one at a time, in the real machines and shells, for one run.

Each must be found within its number of seeds: a simulator that finds none of them would prove nothing by finding
nothing. ``planting`` says how, ``profiles`` in which runs rare ones are looked for; the other modules are the bugs.
"""

from tests.simulation.mutants import caches, commits, leading, logs, outcomes, reads
from tests.simulation.mutants.planting import MUTANTS, Bench, Found, Mutant

__all__ = ["MUTANTS", "Bench", "Found", "Mutant", "caches", "commits", "leading", "logs", "outcomes", "reads"]
