"""Each checker finds the anomaly that is planted for it, and nothing in the same history without it."""

from __future__ import annotations

from dataclasses import replace

import pytest

from springtide.testing.checkers import (
    Anomaly,
    Copy,
    FinalLog,
    History,
    Load,
    Logged,
    check_bank,
    check_blobs,
    check_commits,
    check_copies,
    check_errors,
    check_oids,
    check_reads,
    check_record_cycles,
    check_sessions,
    check_strict,
    check_updates,
)
from tests.unit.testing.checkers.build import FAIL, UNKNOWN, logged, op


def kinds(found: list[Anomaly]) -> list[str]:
    return [each.kind for each in found]


# -- commits -----------------------------------------------------------------------------------

T = op("t", wrote={1: 0}, tid=5)


@pytest.mark.parametrize(
    ("operation", "log", "found"),
    [
        (T, logged((5, T)), []),
        (T, logged(), ["lost commit"]),
        (T, logged((5, T), (6, T)), ["committed twice"]),
        (T, logged((6, T)), ["another tid"]),
        (T, logged((5, op("t", wrote={2: 0}))), ["another content"]),
        (T, FinalLog([Logged(5, "t", {1: "another"})]), ["another content"]),
        (op("t", outcome=FAIL, wrote={1: 0}), logged(), []),
        (op("t", outcome=FAIL, wrote={1: 0}), logged((5, T)), ["failed commit is there"]),
        (op("t", ended=None, outcome=UNKNOWN, wrote={1: 0}), logged(), []),
        (op("t", ended=None, outcome=UNKNOWN, wrote={1: 0}), logged((5, T)), []),
        (op("t", outcome=UNKNOWN, wrote={1: 0}, settled=0), logged(), []),
        (op("t", outcome=UNKNOWN, wrote={1: 0}, settled=0), logged((5, T)), ["failed commit is there"]),
        (op("t", outcome=UNKNOWN, wrote={1: 0}, settled=5), logged((5, T)), []),
        (op("t", outcome=UNKNOWN, wrote={1: 0}, settled=5), logged(), ["lost commit"]),
        (op("t", outcome=UNKNOWN, wrote={1: 0}, settled=5), logged((6, T)), ["another tid"]),
        (op("reader", reads={1: 5}), logged((5, T)), []),
    ],
)
def test_each_acknowledged_commit_is_there_once_and_failed_ones_are_not(operation, log, found) -> None:
    assert kinds(check_commits(History((operation,)), log)) == found


def test_tids_grow_along_the_log() -> None:
    log = FinalLog([Logged(6, "a", {}), Logged(5, "b", {})])

    assert kinds(check_commits(History(()), log)) == ["tid order"]


def test_an_error_that_nobody_announces_is_an_anomaly() -> None:
    assert kinds(check_errors(History((), wrong=("KeyError: x",)))) == ["undocumented error"]


# -- reads -------------------------------------------------------------------------------------

A, B = op("a", wrote={1: 0, 2: 0}), op("b", wrote={1: 5, 2: 5})
LOG = logged((5, A), (9, B))


@pytest.mark.parametrize(
    ("operation", "found"),
    [
        (op("r", reads={1: 5, 2: 5}), []),
        (op("r", reads={1: 9, 2: 9}), []),
        (op("r", reads={1: 5, 2: 9}), ["torn snapshot"]),
        (op("r", reads={1: 7}), ["aborted read"]),
        (op("r", loads=(Load(1, 7, "a:1"),)), ["aborted read"]),
        (op("r", reads={1: 5}, loads=(Load(1, 5, "a:1"),)), []),
        (op("r", reads={1: 5}, loads=(Load(1, 5, "half of it"),)), ["intermediate read"]),
        (op("r", outcome=FAIL, reads={1: 5, 2: 9}), ["torn snapshot"]),
        (op("r", outcome=UNKNOWN, ended=None, reads={1: 5, 2: 9}), ["torn snapshot"]),
    ],
)
def test_what_is_read_was_committed_and_is_the_state_at_one_tid(operation, found) -> None:
    assert kinds(check_reads(History((A, B, operation)), LOG)) == found


def test_a_client_never_sees_less_than_it_saw_or_committed_before() -> None:
    saw = op("saw", 20, 30, client="c", reads={1: 9})
    committed = op("b", 20, 30, client="c", wrote={1: 5, 2: 5}, tid=9)
    later = op("later", 31, 40, client="c", reads={1: 5})

    for before in (saw, committed):
        assert kinds(check_sessions(History((A, before, later)), LOG)) == ["session went back"]
        assert check_sessions(History((A, before, replace(later, client="another"))), LOG) == []
        assert check_sessions(History((A, before, replace(later, invoked=29))), LOG) == [], "they ran at the same time"
        assert check_sessions(History((A, before, replace(later, reads={1: 9}))), LOG) == []
    assert check_sessions(History((A, replace(committed, outcome=FAIL, tid=None), later)), LOG) == []


def test_a_client_that_died_is_promised_the_same() -> None:
    saw = op("saw", 20, 30, client="c", reads={1: 9})
    died = op("died", 31, None, UNKNOWN, client="c", reads={1: 5})

    assert kinds(check_sessions(History((A, saw, died)), LOG)) == ["session went back"]


def test_a_strict_transaction_sees_what_anybody_had_been_told_before() -> None:
    committed = op("b", 20, 30, wrote={1: 5, 2: 5}, tid=9)
    stale = op("stale", 31, 40, reads={2: 5}, strict=True)

    assert kinds(check_strict(History((A, committed, stale)), LOG)) == ["stale strict read"]
    assert check_strict(History((A, committed, replace(stale, strict=False))), LOG) == []
    assert check_strict(History((A, committed, replace(stale, invoked=30))), LOG) == [], "they ran at the same time"
    assert check_strict(History((A, committed, replace(stale, reads={2: 9}))), LOG) == []


# -- updates -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operation", "found"),
    [
        (op("c", wrote={1: 9}), []),
        (op("c", wrote={1: 5}), ["lost update"]),
        (op("c", wrote={1: 5}, resolvable=frozenset({1})), []),
        (op("c", wrote={1: 11}, resolvable=frozenset({1})), ["lost update"]),
        (op("c", wrote={3: 0}), []),
        (op("c", wrote={3: 0}, covered={1: 9}), []),
        (op("c", wrote={3: 0}, covered={1: 5}), ["overtaken check"]),
        (op("c", wrote={1: 9}, covered={1: 9}), []),
    ],
)
def test_a_write_is_made_from_the_revision_before_it_and_checks_hold(operation, found) -> None:
    log = logged((5, A), (9, B), (10, operation))

    assert kinds(check_updates(History((A, B, operation)), log)) == found


def test_no_oid_is_given_twice() -> None:
    assert check_oids(History((), issued=((1, "c"), (2, "d"), (3, "c")))) == []
    assert kinds(check_oids(History((), issued=((1, "c"), (2, "d"), (1, "d"))))) == ["oid issued twice"]
    assert kinds(check_oids(History((), issued=((1, "c"), (1, "c"))))) == ["oid issued twice"]


def test_write_skew_over_records_is_found_where_it_was_checked() -> None:
    one = op("one", wrote={1: 5}, reads={1: 5, 2: 5})
    other = op("other", wrote={2: 5}, reads={1: 5, 2: 5})
    log = logged((5, A), (6, one), (7, other))

    assert check_record_cycles(History((A, one, other)), log) == []
    checked = [replace(one, covered={2: 5}), replace(other, covered={1: 5})]
    assert kinds(check_record_cycles(History((A, *checked)), log)) == ["G2"]


# -- nodes -------------------------------------------------------------------------------------

NODE = Copy("a", {1: (1, "d1"), 2: (2, "d2")}, {"objects/1": "r"}, {"0x01/t.blob": "b"})


@pytest.mark.parametrize(
    ("other", "found"),
    [
        (NODE, []),
        (replace(NODE, entries={2: (2, "d2")}), []),  # a node that joined later has less of the log
        (replace(NODE, entries={1: (1, "d1"), 2: (2, "else")}), ["nodes differ"]),
        (replace(NODE, entries={1: (1, "d1")}), ["nodes differ"]),
        (replace(NODE, rows={"objects/1": "else"}), ["nodes differ"]),
        (replace(NODE, rows={}), ["nodes differ"]),
        (replace(NODE, blobs={"0x01/t.blob": "else"}), ["nodes differ"]),
        (replace(NODE, blobs={**NODE.blobs, "0x02/t.blob": "b"}), ["nodes differ"]),
    ],
)
def test_all_nodes_hold_the_same(other, found) -> None:
    assert kinds(check_copies([NODE, replace(other, node="b")])) == found


def test_epochs_never_fall_along_a_log() -> None:
    fallen = replace(NODE, entries={1: (2, "d1"), 2: (1, "d2")})

    assert kinds(check_copies([fallen])) == ["epoch fell"]


# -- workloads ---------------------------------------------------------------------------------


def test_the_bank_always_holds_the_same() -> None:
    right = op("right", wrote={1: 0}, work={"kind": "bank", "total": 10, "balances": {"1": 4, "2": 6}})
    wrong = op("wrong", work={"kind": "bank", "total": 10, "balances": {"1": 4, "2": 5}})
    log = logged((5, right))

    assert check_bank(History((right,)), log, {"1": 10}, 1) == []
    assert kinds(check_bank(History((right, wrong)), log, {"1": 10}, 1)) == ["bank total"]
    assert kinds(check_bank(History((right,)), log, {"1": 9})) == ["bank total"]
    assert kinds(check_bank(History((right,)), log, {"1": 10}, 0)) == ["lost count"]
    assert kinds(check_bank(History((right,)), logged(), {"1": 10}, 1)) == ["lost count"]


@pytest.mark.parametrize(
    ("read", "found"),
    [
        ([7, 5, "first"], []),
        ([7, 6, "second"], []),
        ([7, 6, "first"], ["another blob"]),
        ([7, 8, "third"], ["aborted blob"]),
        ([8, 5, "first"], ["aborted blob"]),
    ],
)
def test_a_blob_that_is_read_is_what_its_transaction_wrote(read, found) -> None:
    first = op("first", wrote={7: 0}, work={"kind": "blob", "wrote": [[7, "first"]], "read": []})
    second = op("second", wrote={7: 5}, work={"kind": "blob", "wrote": [[7, "second"]], "read": []})
    third = op("third", outcome=FAIL, wrote={7: 6}, work={"kind": "blob", "wrote": [[7, "third"]], "read": []})
    reader = op("reader", work={"kind": "blob", "wrote": [], "read": [read]})
    log = logged((5, first), (6, second))

    assert kinds(check_blobs(History((first, second, third, reader)), log)) == found
    assert kinds(check_blobs(History((first, second, third)), log, History((reader,)))) == found
