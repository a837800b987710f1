"""What tests measure is shown at the end of every run, also where workers ran them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
MEASURES = """
import signal

def test_measures(record_property):
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    record_property("measured", "writes went on after 0.17 s")
    record_property("other", "nobody reads this")
"""


@pytest.mark.parametrize("workers", ["0", "1"])
def test_what_was_measured_is_printed_when_all_have_run(workers: str, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST.read_text())
    (tmp_path / "test_it.py").write_text(MEASURES)

    words = ["-m", "pytest", "-q", "-n", workers, "-p", "no:cacheprovider", str(tmp_path)]
    # As a shell does with SIGINT for what it starts in the background.
    ignoring = ["sh", "-c", 'trap "" INT; exec "$@"', "sh", sys.executable, *words]
    done = subprocess.run(ignoring, cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False)

    assert done.returncode == 0, done.stdout
    _, _, summary = done.stdout.partition("= Measured =")
    assert summary.count("writes went on after 0.17 s") == 1
    assert "nobody" not in summary
