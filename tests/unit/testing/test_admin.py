"""What nodes say, put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from springtide.errors import SpringtideError, Unreachable
from springtide.records.ids import tid
from springtide.testing.admin import Admin, cluster_status, compare, in_sync
from springtide.testing.asking import each_once
from springtide.wire.v1 import admin_pb2, records_pb2


def answer(node: str, role: str = "replica", epoch: int = 1, commit: int = 5, **more: Any) -> admin_pb2.StatusAnswer:
    return admin_pb2.StatusAnswer(
        node=node,
        cluster=more.pop("cluster", "1"),
        role=role,
        epoch=epoch,
        commit=commit,
        last_tid=tid(commit),
        in_sync=[records_pb2.Member(node=member, incarnation="1") for member in more.pop("in_sync", "ab")],
        min_in_sync=2,
        **more,
    )


def digest(first: int, records: int = 10, text: bytes = b"same") -> admin_pb2.RangeDigest:
    return admin_pb2.RangeDigest(first=tid(first), last=tid(first + 9), records=records, digest=text)


class FakeAdmin(Admin):
    """Nodes that answer what they were told to, without a network."""

    def __init__(
        self,
        answers: Mapping[str, admin_pb2.StatusAnswer | SpringtideError],
        ranges: Mapping[str, Iterable[admin_pb2.RangeDigest]] | None = None,
    ) -> None:
        super().__init__(answers)
        self._answers = dict(answers)
        self._ranges = dict(ranges or {})
        self.through: list[bytes] = []

    def status(self, seconds: float = 1.0) -> dict[str, admin_pb2.StatusAnswer | SpringtideError]:
        return self._answers

    def stub(self, address: str) -> Any:
        admin = self

        class Stub:
            def Digests(self, request: admin_pb2.DigestsRequest, timeout: float) -> list[admin_pb2.RangeDigest]:
                admin.through.append(request.through)
                return list(admin._ranges[address])

        return Stub()


def test_the_newest_epoch_says_who_leads() -> None:
    status = cluster_status(
        FakeAdmin(
            {
                "h:1": answer("a", "primary", epoch=1, in_sync="abc"),
                "h:2": answer("b", "primary", epoch=2, commit=7, in_sync="bc"),
                "h:3": answer("c", epoch=2, commit=6, in_sync="bc"),
            }
        )
    )

    assert (status["primary"], status["epoch"], status["in_sync"]) == ("b", 2, ["b", "c"])
    assert [(node["node"], node["behind"], node["in_sync"]) for node in status["nodes"]] == [
        ("a", 2, False),
        ("b", 0, True),
        ("c", 1, True),
    ]


def test_where_nobody_leads_in_the_newest_epoch_nobody_leads() -> None:
    status = cluster_status(FakeAdmin({"h:1": answer("a", "primary", epoch=1), "h:2": answer("b", epoch=2)}))

    assert status["primary"] is None


def test_a_silent_node_is_listed_under_the_name_that_others_know() -> None:
    topology = records_pb2.Topology(nodes=[records_pb2.Node(id="b", address="h:2")])
    status = cluster_status(FakeAdmin({"h:1": answer("a", topology=topology), "h:2": Unreachable("h:2 is silent")}))

    silent = status["nodes"][1]
    assert (silent["node"], silent["reachable"], silent["note"]) == ("b", False, "h:2 is silent")


def test_a_silent_node_that_nobody_announces_is_perhaps_one_of_the_record() -> None:
    status = cluster_status(FakeAdmin({"h:1": answer("a", in_sync="ab"), "h:2": Unreachable("h:2 is silent")}))

    silent = status["nodes"][1]
    assert (silent["node"], silent["perhaps"]) == ("", ["b"])


def test_nodes_of_two_clusters_are_told_apart() -> None:
    status = cluster_status(
        FakeAdmin(
            {
                "h:1": answer("a", "primary", epoch=3, commit=5, cluster="1", in_sync="ab"),
                "h:2": answer("b", "primary", epoch=1, commit=900, cluster="2", in_sync="b"),
                "h:3": answer("c", "starting", epoch=0, commit=0, cluster="", in_sync=""),
            }
        )
    )

    assert status["clusters"] == {"1": ["a"], "2": ["b"]}
    assert (status["cluster"], status["primary"], status["commit"]) == ("1", "a", 5)
    assert [(node["behind"], node["in_sync"]) for node in status["nodes"]] == [(0, True), (0, False), (5, False)]


def test_a_node_is_listed_once_whatever_addresses_it_has() -> None:
    topology = records_pb2.Topology(nodes=[records_pb2.Node(id="a", address="a:1")])
    told = answer("a", uptime="1", topology=topology)

    assert each_once({"h:1": told, "a:1": told}) == {"h:1": told}
    assert each_once({"h:1": told, "a:1": Unreachable("no such name")}) == {"h:1": told}
    assert list(each_once({"h:1": told, "h:2": Unreachable("silent")})) == ["h:1", "h:2"]


LED = answer("a", "primary", incarnation="1")


@pytest.mark.parametrize(
    ("answers", "unlike", "expected"),
    [
        ([LED, answer("b", incarnation="1")], (), True),
        ([LED, answer("b", incarnation="1")], ("1",), False),
        ([LED], (), False),
        ([LED, answer("b", incarnation="2")], (), False),
        ([LED, answer("b", "joining", incarnation="1")], (), False),
        ([LED, answer("b", incarnation="1", epoch=2)], (), False),
        ([LED, answer("b", incarnation="1", cluster="2")], (), False),
        ([LED, answer("b", "primary", incarnation="1")], (), False),
        ([answer("a", "primary", incarnation="1", commit=0), answer("b", incarnation="1")], (), False),
        ([answer("a", incarnation="1"), answer("b", incarnation="1")], (), False),
        ([], (), False),
    ],
)
def test_when_nodes_are_in_sync(answers: list[admin_pb2.StatusAnswer], unlike: tuple[str, ...], expected: bool) -> None:
    assert in_sync({each.node: each for each in answers}, "ab", unlike) is expected


def test_nodes_are_compared_through_what_all_of_them_have() -> None:
    same = [digest(1), digest(11)]
    admin = FakeAdmin({"h:1": answer("a", commit=9), "h:2": answer("b", commit=7)}, {"h:1": same, "h:2": same})

    found = compare(admin)

    assert found.equal and found.nodes == ["a", "b"]
    assert (found.records, found.transactions) == (20, 20)
    assert set(admin.through) == {tid(7)}


def test_every_difference_is_told() -> None:
    admin = FakeAdmin(
        {"h:1": answer("a"), "h:2": answer("b"), "h:3": answer("c")},
        {
            "h:1": [digest(1), digest(11)],
            "h:2": [digest(1), digest(11, text=b"other")],
            "h:3": [digest(1), digest(11), digest(21)],
        },
    )

    found = compare(admin)

    assert not found.equal
    assert [text for text in found.differences if "objects" in text] == [
        f"nodes a and b differ in the objects from {tid(11).hex()} on",
        f"nodes a and c differ in the objects from {tid(21).hex()} on",
    ]


def test_a_node_that_cannot_be_asked_is_no_difference_and_not_equal_either() -> None:
    same = [digest(1)]
    admin = FakeAdmin(
        {"h:1": answer("a"), "h:2": Unreachable("h:2 does not answer"), "h:3": answer("c")}, {"h:1": same, "h:3": same}
    )

    found = compare(admin)

    assert found.differences == [] and found.not_asked == ["h:2 does not answer"]
    assert not found.equal
    assert found.as_json()["not_asked"] == ["h:2 does not answer"] and not found.as_json()["equal"]


def test_nodes_of_different_clusters_are_not_compared() -> None:
    found = compare(FakeAdmin({"h:1": answer("a", cluster="1"), "h:2": answer("b", cluster="2")}))

    assert found.differences == ["the nodes belong to different clusters: 1, 2"]
