"""python -m springtide.testing.simulator --seeds 100 --first 1"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed

from springtide.testing.simulator.run import Report, simulate
from springtide.testing.simulator.tally import Tally

#: Seeds that one process runs before it reports.
BATCH = 10
PROGRESS_SECONDS = 10.0


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    began = said = time.monotonic()
    tally = Tally()
    for report in _reports(options):
        tally.add(report)
        if options.verbose or report.failed:
            print(report.summary())
        if options.story:
            print("\n".join(report.story))
        if report.failed:
            _show(report, options.lines)
            if not options.keep_going:
                break
        if time.monotonic() - said > PROGRESS_SECONDS:
            said = time.monotonic()
            rate = tally.seeds / (said - began)
            print(
                f"{tally.seeds:,} of {options.seeds:,} seeds, {rate:.1f} a second, {len(tally.failed)} failed",
                flush=True,
            )
    print("\n".join(tally.lines()))
    print(f"{'seconds':24}{time.monotonic() - began:12,.1f}   processor: {_processor_seconds():,.1f} s")
    return 1 if tally.failed else 0


def _reports(options: argparse.Namespace) -> Iterator[Report]:
    seeds = range(options.first, options.first + options.seeds)
    if options.jobs == 1 or options.seeds <= BATCH:
        for seed in seeds:
            yield _run(seed, options.story)
        return
    with ProcessPoolExecutor(options.jobs, initializer=gc.freeze) as pool:
        batches = [pool.submit(_batch, seeds[at : at + BATCH], options.story) for at in range(0, len(seeds), BATCH)]
        try:
            for batch in as_completed(batches):
                yield from batch.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _batch(seeds: range, story: bool) -> list[Report]:
    return [_run(seed, story) for seed in seeds]


def _run(seed: int, story: bool) -> Report:
    report = simulate(seed)
    if not report.failed and not story:
        report.story.clear()
    return report


def _processor_seconds() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m springtide.testing.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--first", type=int, default=1, help="the first one (default 1)")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes (default: one for each core)")
    parser.add_argument("--story", action="store_true", help="tell the whole story of each")
    parser.add_argument("--lines", type=int, default=60, help="lines of the story shown for a failure (default 60)")
    parser.add_argument("--keep-going", action="store_true", help="do not stop at the first failure")
    parser.add_argument("--verbose", action="store_true", help="one line a seed")
    return parser.parse_args(arguments)


def _show(report: Report, lines: int) -> None:
    for violation in report.violations:
        print(f"  {violation}")
    print(f"  the last {lines} lines of its story; all: --first {report.seed} --seeds 1 --story")
    for line in report.story[-lines:]:
        print(f"    {line}")


if __name__ == "__main__":
    sys.exit(main())
