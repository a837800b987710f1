"""What holds for all tests."""

from __future__ import annotations

import signal
from collections.abc import Iterable
from pathlib import Path

import hypothesis
import pytest

# How fast examples are made says something about the machine, nothing about the code.
hypothesis.settings.register_profile(
    "springtide", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("springtide")

#: Tests of real processes. They run alone, one after the other: two clusters at a time on two cores would
#: measure each other.
REAL = ("cluster", "faults")
#: But for these, which measure nothing: each waits for what it asks for, however long that takes.
TOGETHER = (
    *("test_blob_client.py", "test_blob_suites.py", "test_blobs.py", "test_bad_input.py", "test_malformed.py"),
    *("test_clear_errors.py", "test_guide.py", "test_multi_databases.py", "test_odd_transactions.py"),
    *("test_pack_suites.py", "test_records.py", "test_recovery_suites.py", "test_undo.py", "test_undo_suites.py"),
    *("test_zodb_suites.py", "test_tls.py", "test_zope.py", "test_pack.py", "test_cache.py", "test_recover.py"),
    *("test_operator.py", "test_forgotten.py", "test_blobs_full_disk.py", "test_large_full_disk.py"),
    *("test_suites_under_kills.py", "test_blob_suites_under_kills.py", "test_bootstrap.py", "test_demo.py"),
    *("test_blob_memory.py", "test_large.py", "test_everything_at_once.py", "test_checked_history.py"),
)
HERE = Path(__file__).parent
#: What a test records with `record_property(MEASURED, line)` is printed when all have run.
MEASURED = "measured"


def pytest_configure() -> None:
    # A shell starts `make test &` with SIGINT ignored, which processes that tests start would inherit.
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parts = Path(item.path).relative_to(HERE).parts if Path(item.path).is_relative_to(HERE) else ()
        if parts and parts[0] in REAL:
            item.add_marker(pytest.mark.cluster)
            # ZODB's races end after two minutes (tests/racetest.py, `tg.wait`), which a busy machine needs.
            if parts[-1] in TOGETHER and "_race_" not in item.name:
                item.add_marker(pytest.mark.together)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Properties come with the reports, so also from workers, whose own output is lost."""
    lines = measured(report for reports in terminalreporter.stats.values() for report in reports)
    if lines:
        terminalreporter.section("Measured")
        for line in lines:
            terminalreporter.write_line(line)


def measured(reports: Iterable[object]) -> list[str]:
    """The lines that tests recorded, each once; other things that are counted carry no properties."""
    properties = [
        pair
        for report in reports
        if getattr(report, "when", "") == "call"
        for pair in report.user_properties  # type: ignore[attr-defined]
    ]
    return [str(value) for name, value in properties if name == MEASURED]
