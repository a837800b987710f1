"""Which cycles are forbidden, and which are not: lists as they were read, without any tid."""

from __future__ import annotations

import pytest

from springtide.testing.checkers import History, Level, Operation, check_appends
from springtide.testing.checkers.graphs import Edge, Graph
from tests.unit.testing.checkers.build import FAIL, UNKNOWN, appends

W = appends("w", reads={"x": [], "y": []}, to={"x": [1], "y": [2]})


def kinds(
    *operations: Operation, final: dict[str, list[int]] | None = None, level: Level = Level.SNAPSHOT
) -> list[str]:
    return [each.kind for each in check_appends(History(operations), final, level)]


def test_g0_two_transactions_wrote_in_two_orders() -> None:
    one, other = appends("one", to={"x": [1], "y": [2]}), appends("other", to={"x": [3], "y": [4]})

    assert kinds(one, other, final={"x": [1, 3], "y": [2, 4]}) == []
    assert kinds(one, other, final={"x": [1, 3], "y": [4, 2]}) == ["G0"]


def test_g1a_what_failed_was_read() -> None:
    failed = appends("failed", outcome=FAIL, to={"x": [1]})

    assert kinds(failed, appends("reader", reads={"x": []})) == []
    assert kinds(failed, appends("reader", reads={"x": [1]})) == ["G1a"]


def test_g1b_the_middle_of_a_transaction_was_read() -> None:
    twice = appends("twice", to={"x": [1, 2]})

    assert kinds(twice, appends("reader", reads={"x": [1, 2]})) == []
    assert "G1b" in kinds(twice, appends("reader", reads={"x": [1]}), final={"x": [1, 2]})


def test_g1c_each_of_two_read_what_the_other_wrote() -> None:
    one = appends("one", reads={"y": [2]}, to={"x": [1]})
    other = appends("other", reads={"x": [1]}, to={"y": [2]})

    assert kinds(one, other) == ["G1c"]


def test_g_single_a_reader_saw_half_of_a_transaction() -> None:
    assert kinds(W, appends("reader", reads={"x": [1], "y": [2]})) == []
    assert kinds(W, appends("reader", reads={"x": [1], "y": []}), final={"x": [1], "y": [2]}) == ["G-single"]


def test_g_single_a_lost_update() -> None:
    one = appends("one", reads={"x": []}, to={"x": [1]})
    other = appends("other", reads={"x": []}, to={"x": [2]})

    assert kinds(one, other, final={"x": [1, 2]}) == ["G-single"]


SKEW = {"x": [1], "y": [2]}


@pytest.mark.parametrize(
    ("one_checks", "other_checks", "found"),
    [((), (), []), (("y",), (), []), ((), ("x",), []), (("y",), ("x",), ["G2"])],
)
def test_write_skew_is_allowed_without_read_current_and_forbidden_with_it(one_checks, other_checks, found) -> None:
    one = appends("one", reads={"x": [], "y": []}, to={"x": [1]}, covered=one_checks)
    other = appends("other", reads={"x": [], "y": []}, to={"y": [2]}, covered=other_checks)

    assert kinds(one, other, final=SKEW) == found
    assert kinds(one, other, final=SKEW, level=Level.SERIALIZABLE) == ["G2"]


def test_a_long_fork_is_forbidden_though_no_transaction_has_an_edge_of_one_kind_only() -> None:
    one, other = appends("one", to={"x": [1]}), appends("other", to={"y": [2]})
    saw_one = appends("saw-one", reads={"x": [1], "y": []})
    saw_other = appends("saw-other", reads={"x": [], "y": [2]})

    assert kinds(one, other, saw_one, saw_other) == ["G2"]


def test_the_anomaly_of_a_read_only_transaction_is_allowed_as_snapshot_isolation_allows_it() -> None:
    batch = appends("batch", reads={"x": [], "y": []}, to={"x": [1]})
    deposit = appends("deposit", reads={"y": []}, to={"y": [2]})
    report = appends("report", reads={"x": [], "y": [2]})

    assert kinds(deposit, batch, report) == []
    assert kinds(deposit, batch, report, final=SKEW, level=Level.SERIALIZABLE) == ["G2"]


def test_a_client_that_forgets_what_it_committed() -> None:
    mine = appends("mine", 0, 10, to={"x": [1]}, client="c")
    blind = appends("blind", 11, 20, reads={"x": []}, client="c")

    assert kinds(mine, blind) == []  # nobody has seen number 1 yet: perhaps it is lost, which `final` tells
    assert kinds(mine, blind, final={"x": [1]}) == ["G-single-process"]
    elsewhere = appends("elsewhere", 11, 20, reads={"x": []}, client="d")
    assert kinds(mine, elsewhere, final={"x": [1]}) == []


def test_a_strict_transaction_that_does_not_see_what_was_acknowledged() -> None:
    written = appends("written", 0, 10, to={"x": [1]})
    strict = appends("strict", 11, 20, reads={"x": []}, strict=True)
    meanwhile = appends("meanwhile", 9, 20, reads={"x": []}, strict=True)

    assert kinds(written, strict, final={"x": [1]}) == ["G-single-realtime"]
    assert kinds(written, meanwhile, final={"x": [1]}) == []


def test_commits_follow_each_other_as_they_did_in_real_time() -> None:
    first = appends("first", 0, 10, to={"x": [1]})
    second = appends("second", 11, 20, to={"x": [2]})

    assert kinds(first, second, final={"x": [1, 2]}) == []
    assert kinds(first, second, final={"x": [2, 1]}) == ["G0-realtime"]


def test_what_is_lost_doubled_garbled_or_back_again() -> None:
    one = appends("one", to={"x": [1]})

    assert kinds(one, final={"x": []}) == ["lost append"]
    assert kinds(one, final={"x": [1, 1]}) == ["doubled append"]
    assert kinds(appends("one", outcome=FAIL, to={"x": [1]}), final={"x": [1]}) == ["failed append is there"]
    assert kinds(one, final={"x": [1]}) == []
    assert kinds(one, appends("reader", reads={"x": [9]})) == ["garbage"]
    other = appends("other", to={"x": [2]})
    assert "incompatible order" in kinds(one, other, appends("r", reads={"x": [1, 2]}), appends("s", reads={"x": [2]}))


@pytest.mark.parametrize("there", [True, False])
def test_nobody_knows_what_became_of_an_unknown_commit_so_both_is_right(there: bool) -> None:
    unknown = appends("unknown", 0, None, UNKNOWN, reads={"x": []}, to={"x": [1]})

    assert kinds(unknown, final={"x": [1] if there else []}) == []


def test_a_hundred_thousand_transactions_end_no_stack() -> None:
    graph = Graph()
    size = 100_000
    for node in range(size):
        graph.add(Edge(node, node + 1, "ww"))
    assert graph.components({"ww"}) == []

    graph.add(Edge(size, size - 2, "wr"))
    assert graph.components({"ww"}) == []
    (component,) = graph.components({"ww", "wr"})
    assert sorted(component) == [size - 2, size - 1, size]
    assert [edge.kind for edge in graph.cycle(component, {"ww", "wr"}, "rw")] == ["ww", "ww", "wr"]
