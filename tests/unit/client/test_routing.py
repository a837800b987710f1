"""Which node to ask."""

from __future__ import annotations

import pytest

from springtide.client.routing import BEHIND_SECONDS, Balance, Directory, Node, Topology, backoff_seconds

A, B, C = (Node(name, f"{name}:1", name == "a", True) for name in "abc")
THREE = Topology(2, "a", (A, B, C))


def test_the_primary_is_tried_first_and_given_addresses_last():
    directory = Directory(("x:1", "y:1"))
    assert directory.addresses() == ("x:1", "y:1")

    directory.learn(Topology(2, "b", (A, B, C)))

    assert directory.addresses() == ("b:1", "a:1", "c:1", "x:1", "y:1")


def test_an_address_that_answered_as_a_node_serves_for_it():
    directory = Directory(("x:1",))
    directory.learn(THREE)
    directory.answered["x:1"] = "a"

    assert directory.primary_addresses() == ("a:1", "x:1")


@pytest.mark.parametrize(
    ("said", "news"),
    [
        (Topology(1, "b", ()), False),
        (THREE, False),
        (Topology(2, "", (A, B)), True),
        (Topology(3, "b", (A, B)), True),
    ],
)
def test_what_is_news(said, news):
    directory = Directory(())
    directory.learn(THREE)
    assert directory.learn(said) is news


def test_a_node_that_is_about_to_lead_does_not_make_us_forget_that_it_does():
    directory = Directory(())
    directory.learn(THREE)

    directory.learn(Topology(2, "", (A, B)))
    assert directory.topology.primary == "a"

    directory.learn(Topology(3, "", (A, B)))
    assert directory.topology.primary == ""


def test_a_hint_is_followed_until_another_primary_is_known():
    directory = Directory(())
    directory.learn(THREE)
    directory.hint = "b:1"
    assert directory.primary_addresses() == ("b:1", "a:1")

    directory.learn(Topology(3, "c", (A, B, C)))

    assert directory.primary_addresses() == ("c:1",)


def balance(**latencies: float) -> Balance:
    made = Balance()
    for node, seconds in latencies.items():
        made.started(node)
        made.answered(node, seconds)
    return made


@pytest.mark.parametrize("chance", [0.0, 0.3, 0.6, 0.99])
def test_of_two_nodes_the_quicker_is_chosen(chance):
    assert balance(a=0.1, b=0.001).choose("ab", now=0, chance=chance) == "b"


def test_a_busy_node_is_slower_than_it_looks():
    two = balance(a=0.001, b=0.0015)
    two.started("a")
    assert two.choose("ab", now=0, chance=0.0) == "b"


def test_a_node_not_tried_yet_is_tried():
    assert balance(a=0.001).choose("ab", now=0, chance=0.0) == "b"


def test_equal_nodes_share_by_chance():
    three = balance(a=0.1, b=0.1, c=0.1)
    assert {three.choose("abc", now=0, chance=chance / 10) for chance in range(10)} == {"a", "b", "c"}


def test_failed_and_late_nodes_are_avoided_for_a_while():
    two = balance(a=0.001, b=0.1)
    two.behind("a", now=0)
    assert two.choose("ab", now=0, chance=0.0) == "b"
    assert two.choose("ab", now=BEHIND_SECONDS, chance=0.0) == "a"

    two.failed("a", now=1)
    two.failed("b", now=1.1)
    assert two.choose("ab", now=1.2, chance=0.0) == "a", "where all failed, the one that failed first"


def test_no_node_no_choice():
    assert Balance().choose((), now=0, chance=0) is None


def test_waiting_between_tries_is_short_at_first_and_bounded():
    assert [backoff_seconds(n, 1.0) for n in (0, 1, 2, 9)] == [0.02, 0.04, 0.08, 0.5]
    assert backoff_seconds(0, 0.0) == 0.01
