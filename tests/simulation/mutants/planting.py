"""How a bug is planted in the real machines and shells, for one simulated run, and taken out again.

A mutant replaces methods and functions of the product by faulty ones while a run lasts. The product knows nothing of
it: it has no switch that could be found on by accident. What a mutant names must be there; where the product
is written anew, the mutant is, too, or the gate says that it is not found any more.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

from springtide.testing.simulator.cluster import Parts
from springtide.testing.simulator.run import Report, simulate

#: A broken promise, or an invariant that the product itself found broken. That a cluster stands still after all
#: faults, or that a node met another error, is enough only for mutants that say so.
PROMISES = r"^(?!nobody caught|.*after everything healed|\w+ stopped: (?!Broken))"
STANDS_STILL = r"after everything healed"
#: The product's refusal to go on with what cannot be.
NOTICED = r"stopped: (AssertionError|Damaged|NoRecord)"

Run = Callable[[int, Parts], Report]


class Bench:
    """Where one mutant is planted. Everything is put back when the run is over."""

    def __init__(self) -> None:
        self.parts = Parts()
        self.where: list[str] = []
        self._undo: list[Callable[[], None]] = []

    def replace(self, owner: Any, name: str, new: Any) -> Any:
        """Put ``new`` in the place of what ``owner``, a class or a module, has there; what that was."""
        old = inspect.getattr_static(owner, name)
        own = name in vars(owner)
        setattr(owner, name, new)
        self._undo.append(lambda: setattr(owner, name, old) if own else delattr(owner, name))
        self.where.append(f"{owner.__name__.removeprefix('springtide.')}.{name}")
        return old.fget if isinstance(old, property) else getattr(old, "__func__", old)

    def part(self, **parts: Any) -> None:
        """Nodes are made of these, instead of the usual ones."""
        self.parts = replace(self.parts, **parts)
        self.where += [f"names of {name}s" for name in parts]

    def clear(self) -> None:
        while self._undo:
            self._undo.pop()()


@dataclass(frozen=True, slots=True)
class Mutant:
    #: Its name, and in a sentence what is wrong with it.
    name: str
    what: str
    #: Where it is known from: the number in the list of classic bugs, a model's word, or a rule of the design.
    origin: str
    plant: Callable[[Bench], None]
    #: What one of the violations must say.
    found: str
    #: Seeds within which it is found; about ten times what it takes.
    budget: int
    run: Run

    @contextmanager
    def planted(self) -> Iterator[Bench]:
        bench = Bench()
        try:
            self.plant(bench)
            yield bench
        finally:
            bench.clear()

    def try_seed(self, seed: int) -> str | None:
        """The violation that gives it away with this seed, if one does."""
        with self.planted() as bench:
            report = self.run(seed, bench.parts)
        return next((each for each in report.violations if re.search(self.found, each)), None)

    def hunt(self, seeds: Iterable[int]) -> Found | None:
        for tried, seed in enumerate(seeds, 1):
            violation = self.try_seed(seed)
            if violation is not None:
                return Found(seed, tried, violation)
        return None


@dataclass(frozen=True, slots=True)
class Found:
    seed: int
    tried: int
    violation: str


MUTANTS: dict[str, Mutant] = {}


def mutant(
    origin: str, *, found: str = PROMISES, budget: int = 100, run: Run = simulate
) -> Callable[[Callable[[Bench], None]], Callable[[Bench], None]]:
    """Register what plants a bug: its name is the function's, and its docstring says what is wrong."""

    def register(plant: Callable[[Bench], None]) -> Callable[[Bench], None]:
        name = plant.__name__.removeprefix("_").replace("_", " ")
        assert name not in MUTANTS, name
        MUTANTS[name] = Mutant(name, inspect.cleandoc(plant.__doc__ or ""), origin, plant, found, budget, run)
        return plant

    return register
