"""How `springtide verify` and `springtide status` end, and what they say."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from springtide.cli import main, status, verify
from springtide.testing.admin import Comparison


@pytest.mark.parametrize(
    ("differences", "not_asked", "ends", "said"),
    [
        ([], [], 0, "the nodes hold the same"),
        (["a and b differ"], [], 1, "the nodes DIFFER"),
        ([], ["h:3 does not answer"], 3, "not all could be asked"),
        (["a and b differ"], ["h:3 does not answer"], 1, "the nodes DIFFER"),
    ],
)
def test_a_difference_and_a_node_that_is_down_are_two_things(
    differences: list[str],
    not_asked: list[str],
    ends: int,
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = Comparison("00", ["a", "b"], differences=differences, not_asked=not_asked)
    monkeypatch.setattr(verify, "compare", lambda *_, **__: found)

    assert main.run(["verify", "h:1"]) == ends
    told = capsys.readouterr().out
    assert said in told.splitlines()[-1]
    assert all(line in told for line in differences + not_asked)


def test_status_of_two_clusters_says_so_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shown: dict[str, Any] = {
        "cluster": "1", "epoch": 3, "primary": "a", "in_sync": ["a"], "min_in_sync": 1, "commit": 5,
        "clusters": {"1": ["a"], "2": ["b", "c"]},
        "nodes": [{"address": "h:4", "node": "", "perhaps": ["d", "e"], "reachable": False, "note": "silent"}],
    }  # fmt: skip
    monkeypatch.setattr(status, "admin", nothing)
    monkeypatch.setattr(status, "cluster_status", lambda _: shown)
    monkeypatch.setattr(status, "check_answered", lambda _: None)

    assert main.run(["status", "h:1"]) == 1
    told = capsys.readouterr().out
    assert "these are nodes of different clusters: 1 (a), 2 (b c)" in told
    assert "d or e?" in told


@contextlib.contextmanager
def nothing(_: str) -> Iterator[None]:
    yield None
