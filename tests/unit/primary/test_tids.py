import pytest
from persistent.TimeStamp import TimeStamp

from springtide.primary.tids import following, tid_of
from springtide.records.ids import number, tid


@pytest.mark.parametrize("seconds", [0, 1.5, 951782399.25, 1e9 + 0.123456, 1_795_449_566.4862573])
def test_a_tid_reads_as_the_time_it_was_made(seconds):
    assert TimeStamp(tid_of(seconds)).timeTime() == pytest.approx(seconds, abs=1e-5)


def test_a_tid_follows_the_clock_and_grows_when_the_clock_does_not():
    now = tid_of(1e9)

    assert following(tid(7), 1e9) == now
    assert following(now, 1e9) == tid(number(now) + 1)
    assert following(now, 1e9 - 3600) == tid(number(now) + 1)
