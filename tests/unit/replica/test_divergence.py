from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide.records import feed
from springtide.records.position import ORIGIN
from springtide.replica.divergence import Ask, Common, Contradicts, TooFarBehind, compare
from tests.unit.build import history
from tests.unit.replica.logs import Log


def outcome(mine: Log, primary: Log) -> tuple[Common | Contradicts | TooFarBehind, int]:
    """The verdict, and how many questions it took."""
    search, verdict = compare(mine, primary.last, primary.oldest)
    asked = 0
    while isinstance(verdict, Ask):
        assert search is not None
        asked += 1
        found = primary.answer(verdict.at)
        assert isinstance(found, feed.Found | feed.Missing), "nothing below the primary's log is asked for"
        search, verdict = (search.found() if isinstance(found, feed.Found) else search.missing()).step()
    return verdict, asked


CASES = [
    # name, mine, the primary's, where they part
    ("A: the same log", "1*7", "1*7", 7),
    ("B: mine is a prefix", "1*4", "1*7", 4),
    ("C: mine goes on within one epoch", "1*9", "1*7", 7),
    ("D: the last entry is of another epoch, lengths are equal", "1*7 1b", "1*7 2", 7),
    ("E: mine is shorter and parts earlier", "1*5 1b*2", "1*5 2*9", 5),
    ("F: mine is longer and parts earlier", "1*5 1b*9", "1*5 2*2", 5),
    ("G: reigns that knew nothing of each other", "1*3 2b*2 4b*2", "1*3 3*4 5", 3),
    ("same epoch, same lsn, other bytes", "1*6 1b*1", "1*6 1c*1", 6),
    ("the first entry already differs", "1b*3", "1*3", 0),
    ("mine is empty", "", "1*3", 0),
    ("both are empty", "", "", 0),
]


@pytest.mark.parametrize(("name", "mine", "primary", "part"), CASES)
def test_histories_part_where_their_digests_do(name: str, mine: str, primary: str, part: int) -> None:
    verdict, _ = outcome(Log(mine), Log(primary))

    assert verdict == Common(Log(mine).points[part])


def test_a_log_that_is_a_prefix_costs_one_question() -> None:
    assert outcome(Log("1*700", commit=500), Log("1*1000")) == (Common(Log("1*700").last), 1)


def test_a_tail_behind_the_primarys_end_costs_no_question() -> None:
    assert outcome(Log("1*9"), Log("1*7")) == (Common(Log("1*7").last), 0)


def test_questions_grow_with_the_logarithm_of_the_doubt() -> None:
    verdict, asked = outcome(Log("1*100 1b*900", commit=90), Log("1*100 2*2000"))

    assert verdict == Common(Log("1*100").last)
    assert asked <= 12


@pytest.mark.parametrize(
    ("name", "mine", "primary"),
    [
        ("it ends before my commit point", Log("1*9", commit=8), Log("1*7")),
        ("it differs at my commit point", Log("1*6 1b*3", commit=7), Log("1*6 2*5")),
        ("it differs at the base of my log", Log("1*6 1b*3", commit=7, trimmed=7), Log("1*6 2*5")),
        ("its log begins at my commit point, with other bytes", Log("1b*9", commit=5), Log("1*9", trimmed=5)),
    ],
)
def test_a_history_without_what_is_committed_here_contradicts(name: str, mine: Log, primary: Log) -> None:
    verdict, _ = outcome(mine, primary)

    assert isinstance(verdict, Contradicts)
    assert verdict.committed.lsn <= mine.commit_lsn


@pytest.mark.parametrize(
    ("name", "mine", "primary"),
    [
        ("mine is empty", Log(""), Log("1*9", trimmed=3)),
        ("mine ends before its log begins", Log("1*4", commit=2), Log("1*9", trimmed=5)),
        ("they part before its log begins", Log("1*4 1b*4", commit=2), Log("1*9", trimmed=6)),
    ],
)
def test_a_log_that_parts_before_the_primarys_begins_needs_a_snapshot(name: str, mine: Log, primary: Log) -> None:
    assert outcome(mine, primary)[0] == TooFarBehind(primary.oldest)


def test_the_oldest_point_of_the_primary_is_known_to_be_common_without_asking() -> None:
    mine, primary = Log("1*6 1b*2", commit=2), Log("1*6 2*4", trimmed=6)

    assert outcome(mine, primary)[0] == Common(mine.points[6])


@given(
    common=st.integers(0, 30),
    mine=st.integers(0, 30),
    theirs=st.integers(0, 30),
    committed=st.integers(0, 30),
    my_base=st.integers(0, 30),
    their_base=st.integers(0, 60),
)
def test_any_two_histories(common: int, mine: int, theirs: int, committed: int, my_base: int, their_base: int) -> None:
    """Whatever was kept and committed: the answer is the true last common entry, a snapshot, or a contradiction."""
    shared = history(f"1*{common}")
    fork = shared[-1].point if shared else ORIGIN
    me = Log([*shared, *history(f"2b*{mine}", fork)])
    primary = Log([*shared, *history(f"3*{theirs}", fork)])
    me.commit_lsn = min(committed, me.last.lsn)
    me.trimmed = min(my_base, me.commit_lsn)
    primary.trimmed = min(their_base, primary.last.lsn)

    verdict, _ = outcome(me, primary)

    if me.commit_lsn > common:
        assert not isinstance(verdict, Common), "what is committed is never cut"
    if isinstance(verdict, Common):
        assert verdict.at.lsn == common
    elif isinstance(verdict, Contradicts):
        assert me.commit_lsn > common
    else:
        assert primary.trimmed > common
