from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from springtide import errors
from springtide.coordinator import topology
from springtide.coordinator.topology import Record, Refusal
from springtide.records.ids import Member, NodeId
from tests.unit.coordinator.build import members, one, progress, record


@pytest.mark.parametrize(("nodes", "minimum"), [(1, 1), (2, 1), (3, 2), (4, 3), (5, 3), (6, 4), (7, 4)])
def test_the_minimum_is_half_plus_one_from_three_nodes_up(nodes: int, minimum: int) -> None:
    assert topology.minimum_for(nodes) == minimum


def test_a_new_cluster_has_its_creator_in_sync_and_the_minimum_of_its_initial_nodes() -> None:
    made = topology.create(None, cluster="x", history="h", me=one("a"), uptime="a.1", initial_nodes=3, change="c0")

    assert made == record("a", minimum=2)


def test_a_recovered_record_is_above_every_epoch_that_was_seen() -> None:
    made = topology.recover(cluster="x", history="h", me=one("b"), uptime="b.9", epochs_seen=6, minimum=2, change="c0")

    assert made == record("b", primary="b", uptime="b.9", epoch=7)


# -- each transition: what it makes, and when it refuses ----------------------------------------

create = partial(topology.create, cluster="x", history="h", me=one("a"), uptime="a.1", initial_nodes=3, change="c1")


def take_over(present: Record, me: str, uptime: str = "new") -> Record:
    return topology.take_over(present, me=one(me), uptime=uptime, change="c1")


def hand_over(present: Record, target: str, acked: int | None = 10, log_end: int = 10) -> Record:
    return topology.hand_over(
        present, target=one(target), target_uptime=f"{target}.7", acked=acked, log_end=log_end, change="c1"
    )


def shrink(present: Record, name: str) -> Record:
    return topology.shrink(present, member=one(name), change="c1")


def remove(present: Record, node: str) -> Record:
    return topology.remove(present, node=NodeId(node), change="c1")


def expand(present: Record, follower: topology.Progress, commit: int = 10, epoch_start: int = 5) -> Record:
    return topology.expand(present, follower=follower, commit=commit, epoch_start=epoch_start, change="c1")


def swap_disk(present: Record, follower: topology.Progress, commit: int = 10, epoch_start: int = 5) -> Record:
    return topology.replace(present, follower=follower, commit=commit, epoch_start=epoch_start, change="c1")


def set_minimum(present: Record, minimum: int, epoch: int | None = None) -> Record:
    return topology.set_minimum(present, minimum=minimum, epoch=epoch, change="c1")


def force(present: Record, me: str, epoch: int = 1, history: str = "new") -> Record:
    return topology.force(present, me=one(me), uptime="new", epoch=epoch, history=history, change="c1")


@pytest.mark.parametrize(
    ("transition", "expected"),
    [
        # The old primary leaves where the minimum remains without it, and stays where it does not.
        (lambda: take_over(record("a b c"), "b"), record("b c", primary="b", epoch=2, uptime="new", change="c1")),
        (lambda: take_over(record("a b"), "b"), record("a b", primary="b", epoch=2, uptime="new", change="c1")),
        (
            lambda: take_over(record("a b", minimum=1), "b"),
            record("b", primary="b", epoch=2, uptime="new", minimum=1, change="c1"),
        ),
        # A restarted primary takes over from itself, and stays.
        (lambda: take_over(record("a b c"), "a"), record("a b c", epoch=2, uptime="new", change="c1")),
        (lambda: take_over(record("a"), "a"), record("a", epoch=2, uptime="new", change="c1")),
        (lambda: hand_over(record("a b"), "b"), record("a b", primary="b", epoch=2, uptime="b.7", change="c1")),
        (lambda: shrink(record("a b c"), "c"), record("a b", change="c1")),
        (lambda: remove(record("a b c2"), "c"), record("a b", change="c1")),
        (lambda: expand(record("a b"), progress("c")), record("a b c", change="c1")),
        (lambda: expand(record("a"), progress("b")), record("a b", change="c1")),
        (lambda: swap_disk(record("a b"), progress("b2")), record("a b2", change="c1")),
        (lambda: set_minimum(record("a b c"), 3), record("a b c", minimum=3, change="c1")),
        (lambda: set_minimum(record("a b c"), 1, epoch=1), record("a b c", minimum=1, change="c1")),
        (
            lambda: force(record("a b"), "c"),
            replace(record("c", primary="c", epoch=2, uptime="new", change="c1"), history="new"),
        ),
    ],
)
def test_what_a_transition_makes(transition: Callable[[], Record], expected: Record) -> None:
    assert transition() == expected


@pytest.mark.parametrize(
    ("transition", "reason"),
    [
        (lambda: create(record()), "exists already"),
        (lambda: take_over(record("a b"), "c"), "not in sync"),
        (lambda: take_over(record("a b"), "b2"), "not in sync"),
        (lambda: take_over(record("a b"), "a", "a.1"), "reigns already"),
        (lambda: hand_over(record("a b"), "a"), "is the primary already"),
        (lambda: hand_over(record("a b"), "c"), "not in sync"),
        (lambda: hand_over(record("a b"), "b2"), "not in sync"),
        (lambda: hand_over(record("a b"), "b", acked=9), "up to 9"),
        (lambda: hand_over(record("a b"), "b", acked=None), "up to 0"),
        (lambda: shrink(record("a b c"), "a"), "hand over first"),
        (lambda: shrink(record("a b c"), "d"), "not in sync"),
        (lambda: shrink(record("a b c"), "c2"), "not in sync"),
        (lambda: shrink(record("a b"), "b"), "2 must stay"),
        (lambda: remove(record("a b"), "b"), "2 must stay"),
        (lambda: remove(record("a b c"), "d"), "not in sync"),
        (lambda: expand(record("a b"), progress("b")), "in sync already"),
        (lambda: expand(record("a b"), progress("b2")), "only replace"),
        (lambda: expand(record("a b"), progress("c", None)), "acknowledged nothing"),
        (lambda: expand(record("a b"), progress("c", 9)), "commit point"),
        (lambda: expand(record("a b"), progress("c", 4), commit=0), "epoch began"),
        (lambda: expand(record("a b"), progress("c", electable=False)), "async"),
        (lambda: expand(record("a b"), progress("c", complete=False)), "snapshot"),
        (lambda: swap_disk(record("a b"), progress("c")), "no incarnation"),
        (lambda: swap_disk(record("a b"), progress("b")), "in sync already"),
        (lambda: swap_disk(record("a b"), progress("a2")), "but a takeover"),
        (lambda: swap_disk(record("a b"), progress("b2", 9)), "commit point"),
        (lambda: swap_disk(record("a b"), progress("b2", 4), commit=0), "epoch began"),
        (lambda: swap_disk(record("a b"), progress("b2", None)), "acknowledged nothing"),
        (lambda: set_minimum(record("a b"), 3), "above the 2"),
        (lambda: set_minimum(record("a b"), 0, epoch=1), "one disk at least"),
        (lambda: set_minimum(record("a b"), 1), "must name the present epoch, 1"),
        (lambda: set_minimum(record("a b"), 1, epoch=2), "must name the present epoch, 1"),
        (lambda: force(record("a b", epoch=3), "c", epoch=2), "epoch 3 reigns"),
        (lambda: force(record("a b"), "c", history="h"), "new history"),
    ],
)
def test_what_a_transition_refuses(transition: Callable[[], Record], reason: str) -> None:
    with pytest.raises(Refusal, match=reason):
        transition()


# -- as bytes -----------------------------------------------------------------------------------

texts = st.text(max_size=10)
numbers = st.integers(1, 2**63)
nodes = st.dictionaries(st.text(min_size=1, max_size=5), texts, min_size=1, max_size=5)


@st.composite
def records(draw: st.DrawFn) -> Record:
    in_sync = frozenset(Member(NodeId(node), incarnation) for node, incarnation in draw(nodes).items())
    primary = draw(st.sampled_from(sorted(in_sync)))
    return Record(draw(texts), draw(texts), draw(numbers), primary, draw(texts), in_sync, draw(numbers), draw(texts))


@given(records())
def test_a_record_comes_back_from_its_bytes(made: Record) -> None:
    assert topology.decode(topology.encode(made)) == made


def _without(field: str) -> bytes:
    fields = json.loads(topology.encode(record()))
    del fields[field]
    return json.dumps(fields).encode()


def _with(**changed: object) -> bytes:
    return json.dumps(json.loads(topology.encode(record())) | changed).encode()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"null",
        b"[]",
        b"{}",
        b"\xff\xfe",
        *(_without(field) for field in json.loads(topology.encode(record()))),
        _with(epoch=0),
        _with(epoch=True),
        _with(epoch="1"),
        _with(minimum=0),
        _with(minimum=1.5),
        _with(primary="d"),
        _with(in_sync=[]),
        _with(in_sync={"a": 1}),
        _with(uptime=None),
    ],
)
def test_bytes_that_are_no_record_are_damaged(data: bytes) -> None:
    with pytest.raises(errors.Damaged, match="not one of Springtide's"):
        topology.decode(data)


def test_a_record_of_a_later_version_says_to_upgrade() -> None:
    with pytest.raises(errors.Damaged, match="upgrade this node"):
        topology.decode(_with(format=2))


def test_a_member_is_found_by_its_node() -> None:
    assert record("a b2").member_of(NodeId("b")) == one("b2")
    assert record("a b2").member_of(NodeId("c")) is None
    assert members("a b2") == {one("a"), one("b2")}
