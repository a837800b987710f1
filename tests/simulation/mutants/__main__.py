"""python -m tests.simulation.mutants: look for every planted bug with fresh seeds, and tell what it took."""

from __future__ import annotations

import argparse
import re
import statistics
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from tests.simulation.mutants import MUTANTS, Found, Mutant, seeds

PAGE = Path(__file__).parents[3] / "docs" / "reliability.md"
BEGIN, END = "<!-- mutants: begin -->", "<!-- mutants: end -->"
#: Seeds of two trials have nothing in common.
APART = 100_000


def main() -> int:
    options = _options()
    rows, missed = [], []
    for mutant in MUTANTS.values():
        if not re.search(options.only, mutant.name):
            continue
        began = time.process_time()
        trials = [hunt(mutant, options.first + number * APART) for number in range(options.trials)]
        found = [trial for trial in trials if trial is not None]
        took = time.process_time() - began
        if len(found) < len(trials):
            missed.append(mutant.name)
        print(f"{mutant.name}: {_counts(found, len(trials))}, {took:.1f} s", flush=True)
        if found:
            print(f"    {found[0].violation}", flush=True)
            rows.append(_row(mutant, found))
            if options.rewrite:
                seeds.write({mutant.name: min(found, key=lambda each: each.tried).seed})
    if options.rewrite and options.only == ".":
        _write_table(rows)
    print(f"{len(rows)} found; not always: {', '.join(missed) or 'none'}")
    return 1 if missed else 0


def hunt(mutant: Mutant, first: int) -> Found | None:
    return mutant.hunt(range(first, first + mutant.budget))


def _counts(found: Iterable[Found], trials: int) -> str:
    tried = sorted(each.tried for each in found)
    if not tried:
        return f"not found in {trials} trials"
    missed = f", missed in {trials - len(tried)}" if len(tried) < trials else ""
    return f"median {statistics.median_low(tried)}, worst {tried[-1]} of {trials}{missed}"


def _row(mutant: Mutant, found: list[Found]) -> str:
    tried = sorted(each.tried for each in found)
    with mutant.planted() as bench:
        where = ", ".join(f"`{place}`" for place in bench.where)
    checks = "; ".join(sorted({check(each.violation) for each in found}))
    what = " ".join(mutant.what.split())
    counts = f"{statistics.median_low(tried)} | {tried[-1]}"
    return f"| {mutant.name}: {what} | {mutant.origin} | {where} | {checks} | {counts} |"


def check(violation: str) -> str:
    """What found it, in a word or two."""
    if "after everything healed" in violation:
        return "does not heal"
    stopped = re.search(r"stopped: (\w+)", violation)
    if stopped:
        breaks = re.search(r"this breaks (\w+)", violation)
        return f"product: {breaks.group(1) if breaks else stopped.group(1)}"
    if "saw" in violation:
        return "session"
    if violation.startswith("a strict read"):
        return "strict read"
    if re.match(r"tid \d+ follows", violation):
        return "tids grow"
    if violation.startswith("oids"):
        return "oids"
    return violation.partition(":")[0]


def _write_table(rows: list[str]) -> None:
    head = [
        "| bug | known from, rule | planted in | found by | median | worst |",
        "|---|---|---|---|---|---|",
    ]
    page = PAGE.read_text()
    before, _, rest = page.partition(BEGIN)
    _, _, after = rest.partition(END)
    PAGE.write_text(before + "\n".join([BEGIN, *head, *rows, END]) + after)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.mutants", description=__doc__)
    parser.add_argument("--trials", type=int, default=5, help="searches for each, from seeds of their own (default 5)")
    parser.add_argument("--first", type=int, default=1, help="the first seed (default 1)")
    parser.add_argument("--only", default=".", help="mutants whose name matches")
    parser.add_argument("--rewrite", action="store_true", help="write the gate's seeds and the table of the docs")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
