"""``python -m springtide``, and the console script."""

from __future__ import annotations

import sys

from springtide.ops import guard


def main() -> int:
    guard.end_with_stdin()
    try:
        from springtide.cli import run
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "springtide":
            raise
        print(f"springtide: the command line needs {error.name}: pip install 'springtide[node]'", file=sys.stderr)
        return 1
    return run()


if __name__ == "__main__":
    sys.exit(main())
