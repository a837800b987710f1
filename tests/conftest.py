"""What holds for all tests."""

from __future__ import annotations

from pathlib import Path

import pytest

#: Tests of real processes. All of them run in one worker, one after the other: two clusters at a
#: time on two cores would measure each other.
REAL = ("cluster", "faults")
HERE = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        parts = Path(item.path).relative_to(HERE).parts if Path(item.path).is_relative_to(HERE) else ()
        if parts and parts[0] in REAL:
            item.add_marker(pytest.mark.cluster)
            item.add_marker(pytest.mark.xdist_group("cluster"))
