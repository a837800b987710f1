"""A history is read from lines of any files, in any order, as far as they were written."""

from __future__ import annotations

import json

import pytest

from springtide.testing.checkers import Outcome, Write, parse


def line(**event: object) -> str:
    return json.dumps(event) + "\n"


INVOKE = line(event="invoke", id="t", client="c", session="s", strict=True, at=5)
TRYING = line(
    event="trying", id="t", reads=[[1, 7]], loads=[[1, 7, "d"]], covered=[[1, 7]], writes=[[2, 0, "e"]],
    resolvable=[2], work={"kind": "bank"},
)  # fmt: skip


def test_an_operation_is_put_together_from_its_events() -> None:
    (operation,) = parse([INVOKE, TRYING, line(event="ok", id="t", at=9, tid=8)]).operations

    assert (operation.id, operation.client, operation.session, operation.strict) == ("t", "c", "s", True)
    assert (operation.invoked, operation.ended, operation.outcome, operation.tid) == (5, 9, Outcome.OK, 8)
    assert (operation.reads, operation.covered, operation.writes) == ({1: 7}, {1: 7}, {2: Write(0, "e")})
    assert operation.resolvable == {2}
    assert operation.work == {"kind": "bank"}


def test_an_operation_without_an_end_is_unknown_and_what_was_cut_off_is_left_out() -> None:
    (operation,) = parse([INVOKE, TRYING, line(event="ok", id="t", at=9)[:-1]]).operations

    assert (operation.outcome, operation.ended) == (Outcome.UNKNOWN, None)


def test_what_was_answered_later_is_known() -> None:
    unknown = line(event="unknown", id="t", at=9, error="lost")

    assert parse([INVOKE, unknown, line(event="settled", id="t", tid=8)]).operations[0].settled == 8
    assert parse([INVOKE, unknown, line(event="settled", id="t")]).operations[0].settled == 0
    assert parse([INVOKE, unknown]).operations[0].settled is None


def test_operations_stand_in_the_order_in_which_they_began() -> None:
    early = line(event="invoke", id="early", client="c", session="s", at=1)

    assert [each.id for each in parse([INVOKE, early]).operations] == ["early", "t"]


def test_oids_and_errors_are_kept() -> None:
    history = parse([line(event="oid", oid=4, client="c"), line(event="wrong", error="KeyError")])

    assert (history.issued, history.wrong) == (((4, "c"),), ("KeyError",))


@pytest.mark.parametrize(
    "lines", [["nonsense\n"], [line(event="other", id="t")], [INVOKE, INVOKE], [line(event="ok", id="t", at=1)]]
)
def test_what_is_no_history_is_refused(lines: list[str]) -> None:
    with pytest.raises(ValueError):
        parse(lines)
