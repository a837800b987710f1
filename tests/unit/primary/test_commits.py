from springtide.primary.commits import Commits
from tests.unit.build import member

A, B, C = member("a"), member("b"), member("c")


def reign(*sets, start=8, commit=5, minimum=2):
    return Commits(start, commit, [frozenset(s) for s in sets], minimum)


def test_nothing_is_committed_before_every_required_member_has_it():
    commits = reign([A, B, C])

    assert not commits.acknowledged(A, 9)
    assert not commits.acknowledged(B, 9)
    assert commits.commit == 5
    assert commits.acknowledged(C, 8)
    assert commits.commit == 8


def test_what_was_inherited_is_committed_only_together_with_the_epoch_start():
    commits = reign([A, B], start=8, commit=5)

    commits.acknowledged(A, 8)
    commits.acknowledged(B, 7)

    assert (commits.commit, commits.established) == (5, False)
    assert commits.acknowledged(B, 8)
    assert (commits.commit, commits.established) == (8, True)


def test_while_a_change_is_sent_both_sets_are_required():
    commits = reign([A, B])
    commits.acknowledged(A, 20)

    commits.require([frozenset([A, B]), frozenset([A, B, C])], 2)

    assert not commits.acknowledged(B, 20)
    assert commits.acknowledged(C, 12)
    assert commits.commit == 12


def test_a_set_below_the_minimum_commits_nothing():
    commits = reign([A], minimum=2)

    assert not commits.acknowledged(A, 9)

    commits.require([frozenset([A]), frozenset([A, B])], 2)
    assert not commits.acknowledged(B, 9), "the smaller of the two sets may still be the record's"
    commits.require([frozenset([A, B])], 2)
    assert commits.settle()


def test_another_incarnation_does_not_acknowledge_for_a_member():
    commits = reign([A, B])
    commits.acknowledged(A, 9)

    assert not commits.acknowledged(member("b", "2"), 9)
    assert commits.commit == 5


def test_acknowledgements_and_the_commit_point_never_go_back():
    commits = reign([A, B])
    commits.acknowledged(A, 9)
    commits.acknowledged(B, 9)

    assert not commits.acknowledged(B, 8)
    assert commits.commit == 9
    assert commits.acked(B) == 9
