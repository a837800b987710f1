from __future__ import annotations

import pytest

from springtide import errors
from springtide.coordinator.election import (
    Create,
    Decision,
    Follow,
    Me,
    NewIds,
    PrimarySeen,
    Reign,
    Stop,
    TakeOver,
    Wait,
    decide,
)
from springtide.coordinator.store import View
from springtide.records.ids import NodeId
from tests.unit.coordinator.build import one, record, view

NEW = NewIds("x", "h", "c1")
HEARD, SILENT, GONE = PrimarySeen


def node_b(incarnation: str = "", *, promised: int = 0, cluster: str = "x", complete: bool = True) -> Me:
    """Node b, whose present run is its second."""
    return Me(one("b" + incarnation), "b.2", cluster, promised, complete)


def follow(address: str | None = "host-a:1", epoch: int = 1) -> Follow:
    return Follow(NodeId("a"), address, epoch)


ASYNC = Me(one("b"), "b.2", "x", 0, electable=False)
TAKES_OVER = TakeOver(record("b c", primary="b", uptime="b.2", epoch=2, change="c1"))
TAKES_OVER_ANEW = TakeOver(record("a b", primary="b", uptime="b.2", epoch=2, change="c1"))
NOT_IN_SYNC = Wait("not in sync: commits could be lost")


@pytest.mark.parametrize(
    ("me", "shown", "seen", "expected"),
    [
        # Another reigns.
        (node_b(), view(record("a b c"), "a.1"), HEARD, follow()),
        (node_b(), view(record("a b c"), ""), HEARD, follow(address=None)),
        (node_b(), view(record("a b c"), "a.1"), SILENT, follow()),
        (node_b(), view(record("a b c"), ""), SILENT, TAKES_OVER),
        (node_b(), view(record("a b c"), "a.2"), SILENT, TAKES_OVER),
        (node_b(), view(record("a b c"), "a.1"), GONE, TAKES_OVER),
        (node_b(), view(record("a b c"), ""), GONE, TAKES_OVER),
        # Only in-sync members, of this incarnation, with all of the data, and electable ones, may stand.
        (node_b(), view(record("a c"), "a.1"), GONE, NOT_IN_SYNC),
        (node_b(), view(record("a c"), ""), SILENT, NOT_IN_SYNC),
        (node_b(), view(record("a c"), "a.1"), SILENT, follow()),
        (node_b(), view(record("a c"), "a.1"), HEARD, follow()),
        (node_b("2"), view(record("a b c"), "a.1"), GONE, NOT_IN_SYNC),
        (node_b(cluster=""), view(record("a c"), "a.1"), SILENT, follow()),
        (node_b(complete=False), view(record("a b c"), ""), GONE, Wait("the snapshot is not complete")),
        (ASYNC, view(record("a b c"), ""), GONE, Wait("an async member does not lead")),
        (ASYNC, view(record("a c"), "a.1"), SILENT, follow()),
        # This node reigned, or does.
        (node_b(), view(record("a b", primary="b", uptime="b.2")), SILENT, Reign(1)),
        (node_b(promised=1), view(record("a b", primary="b", uptime="b.2")), GONE, Reign(1)),
        (node_b(), view(record("a b", primary="b", uptime="b.1"), "b.1"), HEARD, TAKES_OVER_ANEW),
        (node_b(), view(record("a b", primary="b", uptime="b.1"), "b.2"), SILENT, TAKES_OVER_ANEW),
        (
            node_b("2"),
            view(record("a b", primary="b", uptime="b.1")),
            GONE,
            Wait("the disk with which b/1 led was lost: an in-sync member must take over"),
        ),
        # There is no cluster yet.
        (node_b(cluster=""), View(), SILENT, Create(record("b", primary="b", uptime="b.2", change="c1"))),
        (
            Me(one("b"), "b.2", "", 0, electable=False),
            View(),
            SILENT,
            Wait("there is no cluster yet, and an async member does not create one"),
        ),
    ],
)
def test_what_node_b_decides(me: Me, shown: View, seen: PrimarySeen, expected: Decision) -> None:
    assert decide(me, shown, seen, 3, NEW) == expected


@pytest.mark.parametrize(
    ("me", "shown", "error", "says"),
    [
        (node_b(), View(), errors.NoRecord, "springtide recover"),
        (node_b(cluster="y"), view(record("a b"), "a.1"), errors.ForeignDirectory, "belongs to cluster y"),
        (node_b(promised=2), view(record("a b"), "a.1"), errors.NoRecord, "has seen epoch 2"),
        (node_b(promised=2), view(record("a b", primary="b", uptime="b.2")), errors.NoRecord, "put back"),
    ],
)
@pytest.mark.parametrize("seen", PrimarySeen)
def test_a_store_that_was_wiped_or_put_back_stops_node_b(
    me: Me, shown: View, error: type[Exception], says: str, seen: PrimarySeen
) -> None:
    decision = decide(me, shown, seen, 3, NEW)

    assert isinstance(decision, Stop)
    assert type(decision.error) is error
    assert says in str(decision.error)
