"""A database that keeps its promises is never accused; one that breaks one of them is found out."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from springtide.testing.checkers import Level, check_appends, check_everything
from tests.unit.testing.checkers.model import BUGS, Model


@settings(max_examples=40)
@given(st.randoms(use_true_random=False), st.integers(10, 200))
def test_nothing_is_found_in_a_valid_history(chance: Random, steps: int) -> None:
    model = Model(chance)
    model.run(steps)

    assert check_everything(model.history(), model.final_log(), final=model.final()) == []


@pytest.mark.parametrize("bug", sorted(BUGS))
def test_a_broken_promise_is_found_and_called_by_its_name(bug: str) -> None:
    found: set[str] = set()
    for seed in range(8):
        model = Model(Random(seed), bug)
        model.run(300)
        found |= {each.kind for each in check_everything(model.history(), model.final_log(), final=model.final())}

    assert BUGS[bug] <= found


def test_valid_histories_hold_write_skew_which_only_serializability_forbids() -> None:
    found: set[str] = set()
    for seed in range(8):
        model = Model(Random(seed))
        model.run(300)
        history, final = model.history(), model.final()
        assert check_appends(history, final.lists) == []
        found |= {each.kind for each in check_appends(history, final.lists, Level.SERIALIZABLE)}

    assert "G2" in found
