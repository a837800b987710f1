"""python -m springtide.testing.simulator --seeds 100 --first 1"""

from __future__ import annotations

import argparse
import sys
import time

from springtide.testing.simulator.run import Report, simulate


def main(arguments: list[str] | None = None) -> int:
    options = _options(arguments)
    began, failed, commits, virtual = time.perf_counter(), [], 0, 0.0
    for seed in range(options.first, options.first + options.seeds):
        report = simulate(seed)
        commits += report.commits
        virtual += report.virtual_seconds
        if options.verbose or report.failed:
            print(report.summary())
        if options.story:
            print("\n".join(report.story))
        if report.failed:
            failed.append(seed)
            _show(report, options.lines)
            if not options.keep_going:
                break
    took = time.perf_counter() - began
    seeds = seed - options.first + 1
    print(f"{seeds} seeds, {virtual:.0f} virtual s, {commits} commits in {took:.1f} s; failed: {failed}")
    return 1 if failed else 0


def _options(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m springtide.testing.simulator", description=__doc__)
    parser.add_argument("--seeds", type=int, default=100, help="how many (default 100)")
    parser.add_argument("--first", type=int, default=1, help="the first one (default 1)")
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
