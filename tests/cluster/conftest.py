"""What tests of real processes share."""

from __future__ import annotations

import pytest

from springtide.testing.cluster import LocalCluster
from tests.cluster.shared import shared


@pytest.fixture
def cluster() -> LocalCluster:
    """Three nodes, in sync and empty. They stay for the tests that come after."""
    return shared()
