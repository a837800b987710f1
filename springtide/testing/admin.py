"""What nodes say of themselves, asked of all of them at once and put together.

Synchronous, for tools and tests. ``cluster_status`` is what ``springtide status --json``
prints; ``compare`` is what ``springtide verify`` does.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc

from springtide.errors import SpringtideError, Unreachable
from springtide.testing.asking import ASK_SECONDS, Admin, in_words
from springtide.wire.v1 import admin_pb2

__all__ = ["Admin", "Comparison", "cluster_status", "compare", "in_sync"]


# -- status -----------------------------------------------------------------------------------


def cluster_status(admin: Admin, seconds: float = ASK_SECONDS) -> dict[str, Any]:
    """The cluster as its nodes see it, as plain values. Where they differ, the highest epoch is right."""
    answers = admin.status(seconds)
    heard = {address: answer for address, answer in answers.items() if not isinstance(answer, SpringtideError)}
    newest = max(heard.values(), key=_authority, default=None)
    in_sync = sorted(member.node for member in newest.in_sync) if newest is not None else []
    clusters = _clusters(heard)
    nodes = [
        _node(address, answer, heard, newest)
        if not isinstance(answer, SpringtideError)
        else _silent(address, answer, heard, in_sync)
        for address, answer in answers.items()
    ]
    return {
        "cluster": newest.cluster if newest is not None else "",
        "history": newest.history if newest is not None else "",
        "epoch": newest.epoch if newest is not None else 0,
        "primary": _primary(heard, newest),
        "in_sync": in_sync,
        "min_in_sync": newest.min_in_sync if newest is not None else 0,
        "commit": _commit(heard, newest.cluster) if newest is not None else 0,
        #: Which nodes belong to which cluster: more than one is a mistake in the addresses.
        "clusters": clusters,
        "nodes": sorted(nodes, key=lambda node: (node["node"] or "~", node["address"])),
    }


def _authority(answer: admin_pb2.StatusAnswer) -> tuple[int, bool]:
    """Of two nodes in one epoch, the primary knows more of the set."""
    return answer.epoch, answer.role == "primary"


def _primary(heard: Mapping[str, admin_pb2.StatusAnswer], newest: admin_pb2.StatusAnswer | None) -> str | None:
    """The node that says so of itself in the highest epoch; None while none does."""
    if newest is None:
        return None
    return next((a.node for a in heard.values() if a.role == "primary" and _same_reign(a, newest)), None)


def _named(address: str, heard: Mapping[str, admin_pb2.StatusAnswer]) -> str:
    return next((n.id for answer in heard.values() for n in answer.topology.nodes if n.address == address), "")


def _same_reign(one: admin_pb2.StatusAnswer, other: admin_pb2.StatusAnswer) -> bool:
    return (one.cluster, one.epoch) == (other.cluster, other.epoch)


def _clusters(heard: Mapping[str, admin_pb2.StatusAnswer]) -> dict[str, list[str]]:
    """By cluster, the nodes that answer; those that have not joined one yet are in none."""
    found: dict[str, list[str]] = defaultdict(list)
    for answer in heard.values():
        if answer.cluster:
            found[answer.cluster].append(answer.node)
    return {cluster: sorted(nodes) for cluster, nodes in sorted(found.items())}


def _commit(heard: Mapping[str, admin_pb2.StatusAnswer], cluster: str) -> int:
    return max((answer.commit for answer in heard.values() if answer.cluster in (cluster, "")), default=0)


def _silent(
    address: str, error: SpringtideError, heard: Mapping[str, admin_pb2.StatusAnswer], in_sync: Sequence[str]
) -> dict[str, Any]:
    """A node that does not answer, by the name that others know it by.

    A node that was silent for longer is announced no more. The record still names it, but
    not its address: where it is in sync, it is ``perhaps`` the one.
    """
    named = _named(address, heard)
    known = {answer.node for answer in heard.values()} | {n.id for a in heard.values() for n in a.topology.nodes}
    perhaps = [] if named else [node for node in in_sync if node not in known]
    return {"address": address, "node": named, "perhaps": perhaps, "reachable": False, "note": str(error)}


def _node(
    address: str,
    answer: admin_pb2.StatusAnswer,
    heard: Mapping[str, admin_pb2.StatusAnswer],
    newest: admin_pb2.StatusAnswer | None,
) -> dict[str, Any]:
    ours = newest is not None and answer.cluster == newest.cluster
    return {
        "address": address,
        "node": answer.node,
        "reachable": True,
        "role": answer.role,
        "epoch": answer.epoch,
        "record_epoch": answer.record_epoch,
        "in_sync": ours and newest is not None and any(m.node == answer.node for m in newest.in_sync),
        "last": f"{answer.last.epoch}/{answer.last.lsn}",
        "digest": answer.last.digest.hex(),
        "commit": answer.commit,
        "applied": answer.applied,
        "behind": _commit(heard, answer.cluster or ("" if newest is None else newest.cluster)) - answer.commit,
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
    #: Of blobs, on all nodes together; 0 where they were not asked for.
    files: int = 0
    #: One sentence each; empty: the nodes that were asked hold the same.
    differences: list[str] = field(default_factory=list)
    #: Why nodes could not be asked, one sentence each. Nothing is known of what they hold.
    not_asked: list[str] = field(default_factory=list)

    @property
    def equal(self) -> bool:
        """Whether all nodes hold the same, so also whether all could be asked."""
        return not self.differences and not self.not_asked

    def as_json(self) -> dict[str, Any]:
        return {
            "through": self.through,
            "nodes": self.nodes,
            "records": self.records,
            "transactions": self.transactions,
            "files": self.files,
            "differences": self.differences,
            "not_asked": self.not_asked,
            "equal": self.equal,
        }


#: Nodes that are looked at between two steps of a pack differ: they are compared so often.
_TRIES_DURING_PACKS = 5


def compare(admin: Admin, seconds: float = 600.0, files: bool = False) -> Comparison:
    """Compare all reachable nodes' committed states, up to what every one of them has.

    Rows name the contents of blobs, so equal rows mean equal blobs; ``files`` reads the files themselves as well.
    """
    for _ in range(_TRIES_DURING_PACKS):
        before = _packs(admin)
        found = _compare(admin, seconds, files)
        if not found.differences or (before is not None and before == _packs(admin)):
            return found
        time.sleep(1.0)
    found.differences.clear()
    found.not_asked.append("a pack takes away history on all nodes now: verify again when it has ended")
    return found


def _packs(admin: Admin) -> int | None:
    """How far packs are, where all nodes that answer say the same and none is at work."""
    said = {(a.packs, a.packing) for a in admin.status().values() if not isinstance(a, SpringtideError)}
    return next(iter(said))[0] if len(said) == 1 and not next(iter(said))[1] else None


def _compare(admin: Admin, seconds: float, files: bool) -> Comparison:
    answers = admin.status()
    silent = [str(answer) for answer in answers.values() if isinstance(answer, SpringtideError)]
    heard = {address: a for address, a in answers.items() if not isinstance(a, SpringtideError)}
    if not heard:
        raise Unreachable("no node answers: " + "; ".join(silent))
    through = min(answer.last_tid for answer in heard.values())
    found = Comparison(through.hex(), sorted(answer.node for answer in heard.values()), not_asked=silent)
    clusters = {answer.cluster for answer in heard.values()}
    if len(clusters) > 1:
        found.differences.append(f"the nodes belong to different clusters: {', '.join(sorted(clusters))}")
        return found
    for transactions in (False, True):
        _compare_table(admin, {address: a.node for address, a in heard.items()}, through, transactions, found, seconds)
    if files:
        for address, answer in heard.items():
            _check_files(admin, address, answer.node, through, found, seconds)
    return found


def _check_files(admin: Admin, address: str, node: str, through: bytes, found: Comparison, seconds: float) -> None:
    try:
        for answer in admin.stub(address).CheckFiles(admin_pb2.CheckFilesRequest(through=through), timeout=seconds):
            found.files += answer.files
            found.differences += [f"node {node}: {problem}" for problem in answer.problems]
    except grpc.RpcError as error:
        found.not_asked.append(f"the files of node {node} could not be checked: {in_words(address, error)}")


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
            found.not_asked.append(f"node {nodes[address]} could not be compared: {in_words(address, error)}")
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
