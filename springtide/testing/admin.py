"""What nodes say of themselves, asked of all of them at once and put together.

Synchronous, for tools and tests. ``cluster_status`` is what ``springtide status --json``
prints; ``compare`` is what ``springtide verify`` does.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self, cast

import grpc

from springtide.errors import OperatorError, SpringtideError, Unreachable
from springtide.wire.channels import Tls, blocking
from springtide.wire.v1 import admin_pb2, admin_pb2_grpc

ASK_SECONDS = 2.0


class Admin:
    """The administration services of some nodes, by address. Knows no more than it is told."""

    def __init__(self, addresses: Iterable[str], tls: Tls | None = None) -> None:
        self.addresses = tuple(dict.fromkeys(addresses))
        self._tls = tls
        self._channels: dict[str, grpc.Channel] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        channels, self._channels = list(self._channels.values()), {}
        for channel in channels:
            channel.close()

    def wait_for(self, condition: Callable[[], object], seconds: float = 30.0) -> None:
        """Ask ``condition`` again and again until it holds; ``Unreachable`` where that takes too long."""
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise Unreachable(f"what was waited for did not come about within {seconds:.0f} s")
            time.sleep(0.02)

    def stub(self, address: str) -> Any:
        channel = self._channels.get(address)
        if channel is None:
            channel = blocking(address, self._tls)
            self._channels[address] = channel
        return admin_pb2_grpc.AdminStub(channel)

    def call(self, address: str, method: str, request: Any, seconds: float = ASK_SECONDS) -> Any:
        """One answer of one node; ``SpringtideError`` says in words why there is none."""
        try:
            return getattr(self.stub(address), method)(request, timeout=seconds)
        except grpc.RpcError as error:
            raise _in_words(address, error) from None

    def call_all(
        self, method: str, request: Any, addresses: Sequence[str] | None = None, seconds: float = ASK_SECONDS
    ) -> dict[str, Any]:
        """The answers of all nodes, asked at the same time; an error in the place of an answer."""
        asked = {
            address: getattr(self.stub(address), method).future(request, timeout=seconds)
            for address in (self.addresses if addresses is None else addresses)
        }
        answers: dict[str, Any] = {}
        for address, answer in asked.items():
            try:
                answers[address] = answer.result()
            except grpc.RpcError as error:
                answers[address] = _in_words(address, error)
        return answers

    def status(self, seconds: float = ASK_SECONDS) -> dict[str, admin_pb2.StatusAnswer | SpringtideError]:
        """By address, of the known nodes and of those that they name."""
        request = admin_pb2.StatusRequest()
        answers = self.call_all("Status", request, seconds=seconds)
        named = {
            node.address
            for answer in answers.values()
            if not isinstance(answer, SpringtideError)
            for node in answer.topology.nodes
            if node.address
        }
        others = sorted(named - set(self.addresses))
        if others:
            answers |= self.call_all("Status", request, others, seconds)
        return answers


def _in_words(address: str, error: grpc.RpcError) -> SpringtideError:
    code, details = cast(grpc.Call, error).code(), cast(grpc.Call, error).details()
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
        # gRPC tells the whole story of its attempts; its last words are the reason.
        return Unreachable(f"{address} does not answer ({(details or code.name).rsplit(': ', 1)[-1]})")
    return OperatorError(details or f"{address} answers {code.name}")


# -- status -----------------------------------------------------------------------------------


def cluster_status(admin: Admin, seconds: float = ASK_SECONDS) -> dict[str, Any]:
    """The cluster as its nodes see it, as plain values. Where they differ, the highest epoch is right."""
    answers = admin.status(seconds)
    heard = {address: answer for address, answer in answers.items() if not isinstance(answer, SpringtideError)}
    newest = max(heard.values(), key=_authority, default=None)
    in_sync = sorted(member.node for member in newest.in_sync) if newest is not None else []
    commit = max((answer.commit for answer in heard.values()), default=0)
    nodes = [
        _node(address, answer, commit, in_sync)
        if not isinstance(answer, SpringtideError)
        else {"address": address, "node": _named(address, heard), "reachable": False, "note": str(answer)}
        for address, answer in answers.items()
    ]
    return {
        "cluster": newest.cluster if newest is not None else "",
        "history": newest.history if newest is not None else "",
        "epoch": newest.epoch if newest is not None else 0,
        "primary": _primary(heard, newest),
        "in_sync": in_sync,
        "min_in_sync": newest.min_in_sync if newest is not None else 0,
        "commit": commit,
        "nodes": sorted(nodes, key=lambda node: (node["node"] or "~", node["address"])),
    }


def _authority(answer: admin_pb2.StatusAnswer) -> tuple[int, bool]:
    """Of two nodes in one epoch, the primary knows more of the set."""
    return answer.epoch, answer.role == "primary"


def _primary(heard: Mapping[str, admin_pb2.StatusAnswer], newest: admin_pb2.StatusAnswer | None) -> str | None:
    """The node that says so of itself in the highest epoch; None while none does."""
    if newest is None:
        return None
    return next((a.node for a in heard.values() if a.role == "primary" and a.epoch == newest.epoch), None)


def _named(address: str, heard: Mapping[str, admin_pb2.StatusAnswer]) -> str:
    return next((n.id for answer in heard.values() for n in answer.topology.nodes if n.address == address), "")


def _node(address: str, answer: admin_pb2.StatusAnswer, commit: int, in_sync: Sequence[str]) -> dict[str, Any]:
    return {
        "address": address,
        "node": answer.node,
        "reachable": True,
        "role": answer.role,
        "epoch": answer.epoch,
        "in_sync": answer.node in in_sync,
        "last": f"{answer.last.epoch}/{answer.last.lsn}",
        "digest": answer.last.digest.hex(),
        "commit": answer.commit,
        "applied": answer.applied,
        "behind": commit - answer.commit,
        "last_tid": answer.last_tid.hex(),
        "reads_served": answer.reads_served,
        "store_reachable": answer.store_reachable,
        "incarnation": answer.incarnation,
        "uptime": answer.uptime,
        "cluster": answer.cluster,
        "version": answer.version,
        "diverged": list(answer.diverged),
        "note": answer.note,
        "followers": [
            {
                "node": follower.member.node,
                "durable": follower.durable,
                "applied": follower.applied,
                "acked_seconds_ago": round(follower.acked_seconds_ago, 3),
                "in_sync": follower.in_sync,
            }
            for follower in answer.followers
        ],
    }


def in_sync(answers: Mapping[str, Any], wanted: Collection[str], unlike: Collection[str]) -> bool:
    """Whether these nodes follow one primary, in sync, in a cluster that is none of ``unlike``. Answers are by node."""
    leaders = [answer for answer in answers.values() if answer.role == "primary"]
    newest = max((answer.epoch for answer in answers.values()), default=0)
    if len(leaders) != 1 or leaders[0].epoch != newest or leaders[0].cluster in unlike or leaders[0].commit == 0:
        return False
    (leader,) = leaders
    members = {(member.node, member.incarnation) for member in leader.in_sync}
    return all(
        node in answers
        and answers[node].cluster == leader.cluster
        and answers[node].epoch == newest
        and answers[node].role in ("primary", "replica")
        and (node, answers[node].incarnation) in members
        for node in wanted
    )


# -- comparing nodes --------------------------------------------------------------------------


@dataclass(slots=True)
class Comparison:
    """What a record-for-record comparison of nodes found."""

    through: str
    nodes: list[str] = field(default_factory=list)
    records: int = 0
    transactions: int = 0
    #: One sentence each; empty: the nodes hold the same.
    differences: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        return not self.differences

    def as_json(self) -> dict[str, Any]:
        return {
            "through": self.through,
            "nodes": self.nodes,
            "records": self.records,
            "transactions": self.transactions,
            "differences": self.differences,
            "equal": self.equal,
        }


def compare(admin: Admin, seconds: float = 600.0) -> Comparison:
    """Compare all reachable nodes' committed states, up to what every one of them has."""
    answers = admin.status()
    silent = [str(answer) for answer in answers.values() if isinstance(answer, SpringtideError)]
    heard = {address: a for address, a in answers.items() if not isinstance(a, SpringtideError)}
    if not heard:
        raise Unreachable("no node answers: " + "; ".join(silent))
    through = min(answer.last_tid for answer in heard.values())
    found = Comparison(through.hex(), sorted(answer.node for answer in heard.values()), differences=silent)
    clusters = {answer.cluster for answer in heard.values()}
    if len(clusters) > 1:
        found.differences.append(f"the nodes belong to different clusters: {', '.join(sorted(clusters))}")
        return found
    for transactions in (False, True):
        _compare_table(admin, {address: a.node for address, a in heard.items()}, through, transactions, found, seconds)
    return found


def _compare_table(
    admin: Admin, nodes: Mapping[str, str], through: bytes, transactions: bool, found: Comparison, seconds: float
) -> None:
    request = admin_pb2.DigestsRequest(through=through, transactions=transactions)
    deadline = time.monotonic() + seconds
    streams = {
        address: iter(admin.stub(address).Digests(request, timeout=deadline - time.monotonic())) for address in nodes
    }
    ranges: dict[str, dict[bytes, admin_pb2.RangeDigest]] = {}
    for address, stream in streams.items():
        try:
            ranges[address] = {answer.first: answer for answer in stream}
        except grpc.RpcError as error:
            found.differences.append(f"node {nodes[address]} could not be compared: {_in_words(address, error)}")
    if not ranges:
        return
    reference, *others = ranges
    counted = sum(answer.records for answer in ranges[reference].values())
    if transactions:
        found.transactions = counted
    else:
        found.records = counted
    table = "transactions" if transactions else "objects"
    for other in others:
        for first in sorted(ranges[reference].keys() | ranges[other].keys()):
            mine, theirs = ranges[reference].get(first), ranges[other].get(first)
            if mine is None or theirs is None or (mine.digest, mine.records) != (theirs.digest, theirs.records):
                found.differences.append(
                    f"nodes {nodes[reference]} and {nodes[other]} differ in the {table} from {first.hex()} on"
                )
