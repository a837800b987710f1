"""Which sessions are opened, and how long they are waited for."""

from __future__ import annotations

from springtide.client.errors import SessionLost
from springtide.client.messages import Limits, Welcome
from springtide.client.roster import (
    CONNECT_SECONDS,
    CONNECT_SECONDS_MAX,
    HEAD_START_SECONDS,
    READS_AFTER_SECONDS,
    Roster,
)
from springtide.client.routing import Directory, Node, Topology
from springtide.client.session import Purpose, Session
from tests.unit.build import tid

ADDRESSES = ("a:1", "b:1", "c:1")
TOPOLOGY = Topology(1, "a", tuple(Node(a[0], a, primary=a == "a:1") for a in ADDRESSES))


class Channel:
    def close(self):
        pass


def session(roster, address, purpose, now=0.0):
    opened = Session(address, Channel(), purpose, None)
    opened.node, opened.started = address[0], now
    roster.opening.append(opened)
    return opened


def with_main(now):
    roster = Roster(Directory(ADDRESSES), True, 0.0)
    main = session(roster, "a:1", Purpose.MAIN)
    roster.opened(main)
    roster.take(main, Welcome("a", "cluster", "history", tid(1), TOPOLOGY, Limits(), 1), True)
    roster.wanted(now)
    return roster


def mains(roster, now):
    return [address for address, purpose in roster.wanted(now) if purpose is Purpose.MAIN]


def test_each_further_address_waits_twice_as_long_for_its_turn():
    roster = Roster(Directory(ADDRESSES), True, 0.0)

    assert [len(mains(roster, HEAD_START_SECONDS * n)) for n in (0, 1, 2, 3)] == [1, 2, 2, 3]


def test_sessions_for_reads_are_opened_some_time_after_the_first_one():
    roster = with_main(now=5.0)

    assert roster.wanted(5.0 + READS_AFTER_SECONDS / 2) == []
    assert roster.wanted(5.1 + READS_AFTER_SECONDS) == [("b:1", Purpose.READS), ("c:1", Purpose.READS)]


def test_every_attempt_waits_twice_as_long_as_the_one_before():
    roster = Roster(Directory(ADDRESSES), True, 0.0)
    waited = []
    for _ in range(5):
        attempt = session(roster, "a:1", Purpose.MAIN)
        seconds = CONNECT_SECONDS
        while not list(roster.overdue(seconds + 0.1)):
            seconds *= 2 if seconds * 2 <= CONNECT_SECONDS_MAX else CONNECT_SECONDS_MAX / seconds
        waited.append(seconds)
        roster.failed(attempt, SessionLost("no answer"), seconds, 0.5)
        roster.opened(attempt)

    assert waited == [10, 20, 40, 60, 60]


def welcome(node, topology=TOPOLOGY):
    return Welcome(node, "cluster", "history", tid(1), topology, Limits(), 1)


def test_a_client_whose_node_shows_what_may_be_old_moves_to_one_that_does_not():
    roster = with_main(now=5.0)
    former = roster.main
    former.stale = True

    assert mains(roster, 5.1) == ["b:1", "c:1"]
    other = session(roster, "b:1", Purpose.MAIN)
    roster.opened(other)

    assert roster.take(other, welcome("b"), False)[0] is former
    assert roster.main is other


def test_where_everybody_shows_what_may_be_old_nobody_moves_and_nobody_hurries():
    roster = with_main(now=5.0)
    former = roster.main
    former.stale = True
    assert mains(roster, 5.1) == ["b:1", "c:1"]
    other = session(roster, "b:1", Purpose.MAIN)
    other.stale = True
    roster.opened(other)

    assert list(roster.take(other, welcome("b"), False)) == [other]

    assert roster.main is former
    assert mains(roster, 5.2) == []
    assert mains(roster, 6.2) == ["b:1", "c:1"]


def test_reads_go_to_nodes_that_show_what_may_be_old_only_where_there_are_no_others():
    roster = with_main(now=5.0)
    reader = session(roster, "b:1", Purpose.READS)
    roster.opened(reader)
    roster.take(reader, welcome("b"), False)

    reader.stale = True
    assert set(roster.readable(())) == {"a"}
    roster.main.stale = True
    assert set(roster.readable(())) == {"a", "b"}
    assert set(roster.readable({"a"})) == {"b"}
