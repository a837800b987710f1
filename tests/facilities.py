"""What a test needs of the machine. Missing: 'not tried', and why; or a failure, where everything is demanded."""

from __future__ import annotations

import os

import pytest

#: Set where every facility must be there (`.ci/run`).
REQUIRE_ALL = "SPRINGTIDE_REQUIRE_ALL"


def need(there: object, what: str) -> None:
    """Go on only where ``there`` is true; ``what`` says what is missing and how to get it."""
    if there:
        return
    if os.environ.get(REQUIRE_ALL):
        pytest.fail(f"missing, and {REQUIRE_ALL} is set: {what}", pytrace=False)
    pytest.skip(f"not tried: {what}")
