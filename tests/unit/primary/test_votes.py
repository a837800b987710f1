import pytest

from springtide import errors
from springtide.primary.conflicts import Intent, Wanted
from springtide.primary.locks import Mode
from springtide.primary.votes import ORDER, Phase, Ticket, Votes
from springtide.records.ids import TransactionId, oid
from tests.unit.build import tid

ID = TransactionId(bytes(24))
STORE, CHECK, *_ = Intent


def store(number, data=b"x"):
    return Wanted(oid(number), STORE, tid(1), data)


def votes():
    return Votes(record_bytes_max=100, transaction_bytes_max=1000)


def test_the_last_write_of_an_object_counts():
    table = votes()
    table.collect(ID, 1, "s", [store(1, b"old"), store(2)])
    table.collect(ID, 1, "s", [store(1, b"new")])

    ballot = table.find(ID, 1)

    assert [write.data for write in ballot.transaction(tid(9)).writes] == [b"new", b"x"]


def test_a_read_check_shares_and_a_write_excludes_and_a_given_tid_excludes_everybody():
    table = votes()
    table.collect(ID, 1, "s", [store(1), Wanted(oid(1), CHECK, tid(1)), Wanted(oid(2), CHECK, tid(1))])
    ballot = table.find(ID, 1)

    assert ballot.locks() == {oid(1): Mode.EXCLUDE, oid(2): Mode.SHARE}
    ballot.ticket = Ticket(tid=tid(9))
    assert ballot.locks()[ORDER] is Mode.EXCLUDE


def test_a_new_attempt_replaces_the_earlier_one():
    table = votes()
    table.collect(ID, 1, "s", [store(1)])
    first = table.find(ID, 1)

    assert table.collect(ID, 2, "s", [store(1)]) is first
    assert table.find(ID, 1) is None
    with pytest.raises(errors.BadRequest, match="has an attempt 2"):
        table.collect(ID, 1, "s", [store(1)])


def test_after_a_question_for_the_outcome_earlier_attempts_are_refused_for_good():
    table = votes()
    table.collect(ID, 1, "s", [store(1)])
    ballot = table.find(ID, 1)

    assert table.fence(ID, 1) is ballot

    with pytest.raises(errors.BadRequest, match="given up"):
        table.collect(ID, 1, "s", [store(1)])
    table.collect(ID, 2, "s", [store(1)])


def test_what_is_in_the_log_is_not_given_up():
    table = votes()
    table.collect(ID, 1, "s", [store(1)])
    table.find(ID, 1).phase = Phase.FINISHING

    assert table.fence(ID, 1) is None
    assert table.finishing(ID)
    assert table.of_session("s") == []


def test_only_a_voted_attempt_is_finished():
    table = votes()
    table.collect(ID, 1, "s", [store(1)])

    with pytest.raises(errors.BadRequest, match="not voted"):
        table.voted(ID, 1)
    table.find(ID, 1).phase = Phase.VOTED
    assert table.voted(ID, 1) is table.find(ID, 1)
    with pytest.raises(errors.BadRequest):
        table.voted(ID, 2)


@pytest.mark.parametrize("wanted", [[store(1, b"x" * 101)], [store(n, b"x" * 90) for n in range(12)]])
def test_what_is_above_a_limit_is_refused_with_the_name_of_the_limit(wanted):
    with pytest.raises(errors.TooLarge, match=r"(record|transaction)_bytes_max"):
        votes().collect(ID, 1, "s", wanted)


def test_ballots_that_nobody_finishes_are_found():
    table = votes()
    table.collect(ID, 1, "s", [store(1)])
    ballot = table.find(ID, 1)
    ballot.phase, ballot.touched_at = Phase.VOTED, 10.0

    assert table.hanging(before=10.0) == []
    assert table.hanging(before=10.1) == [ballot]
