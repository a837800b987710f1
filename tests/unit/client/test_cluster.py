"""Which session tells what changes, when several answer."""

from __future__ import annotations

from springtide.client.cluster import Cluster, Settings
from springtide.client.messages import Limits, Welcome
from springtide.client.routing import Node, Topology
from springtide.client.session import Purpose, Session
from springtide.client.view import View
from springtide.records.ids import oid
from tests.unit.build import tid

A = oid(1)
TOPOLOGY = Topology(1, "b", (Node("a", "a:1"), Node("b", "b:1", primary=True)))


class Channel:
    def close(self):
        pass


def opening(cluster, node, since=None):
    """A session that has said hello, and asked for what is after ``since``."""
    session = Session(f"{node}:1", Channel(), Purpose.MAIN, cluster)
    session.node = node
    session.since = since
    cluster._roster.opening.append(session)
    return session


def welcome(node, last):
    return Welcome(node, "cluster", "history", tid(last), TOPOLOGY, Limits(), 1)


def test_a_session_that_was_opened_before_anything_was_known_does_not_replace_another():
    view = View(10**6)
    cluster = Cluster(Settings(("a:1", "b:1")), view)
    replica, primary = opening(cluster, "a"), opening(cluster, "b")
    cluster.welcomed(replica, welcome("a", last=10))

    # It tells what comes after 12, and 11 would be told by nobody.
    cluster.welcomed(primary, welcome("b", last=12))

    assert primary.closed and not replica.closed
    cluster.changed(replica, tid(11), (A,))
    assert view.last == tid(11)


def test_a_session_that_asked_for_what_was_missed_does():
    view = View(10**6)
    cluster = Cluster(Settings(("a:1", "b:1")), view)
    replica = opening(cluster, "a")
    cluster.welcomed(replica, welcome("a", last=10))
    primary = opening(cluster, "b", since=tid(10))

    cluster.welcomed(primary, welcome("b", last=12))

    assert replica.closed and not primary.closed
    cluster.changed(primary, tid(11), (A,))
    cluster.changed(primary, tid(12), (A,))
    assert view.last == tid(12)


def test_a_session_that_was_opened_at_the_same_time_does_where_nothing_lies_between():
    view = View(10**6)
    cluster = Cluster(Settings(("a:1", "b:1")), view)
    replica, primary = opening(cluster, "a"), opening(cluster, "b")
    cluster.welcomed(replica, welcome("a", last=10))

    cluster.welcomed(primary, welcome("b", last=10))

    assert replica.closed and not primary.closed
    cluster.changed(primary, tid(11), (A,))
    assert view.last == tid(11)
