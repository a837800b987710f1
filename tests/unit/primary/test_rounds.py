from springtide.primary.feed import Progress
from springtide.primary.rounds import Round
from tests.unit.build import member

B, C = member("b"), member("c")


def feeds(*members):
    return {m: Progress(m, 0, 0.0) for m in members}


def test_everybody_who_was_asked_must_answer_this_round_and_not_an_earlier_one():
    now = feeds(B, C)
    now[B].round = now[B].confirmed = 4

    round = Round([B, C], now)

    assert not round.answered(now)
    now[C].confirmed = 1
    assert not round.answered(now)
    now[B].confirmed = 5
    assert round.answered(now)


def test_who_is_not_there_answers_with_the_first_round_of_a_later_feed():
    round = Round([B], {})

    assert not round.answered({})
    later = feeds(B)
    assert not round.answered(later)
    later[B].confirmed = 1
    assert round.answered(later)


def test_an_answer_on_a_former_feed_counts_no_more_than_its_later_feeds_first_round():
    now = feeds(B)
    now[B].round = now[B].confirmed = 7
    round = Round([B], now)

    assert not round.answered(feeds(B))


def test_another_incarnation_answers_for_nobody():
    round = Round([B], {})
    other = member("b", "2")
    there = feeds(other)
    there[other].confirmed = 9

    assert not round.answered(there)


def test_a_primary_alone_asks_nobody():
    assert Round([], {}).answered({})
