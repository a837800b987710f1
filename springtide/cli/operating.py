"""``springtide minimum``, ``remove`` and ``force``: an operator changes who must hold a commit, or who leads.

Each says what there is and what it would do, and does it only when told ``--yes``.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import click

from springtide.cli.status import check_answered
from springtide.cli.uri import admin
from springtide.errors import BadRequest, Unreachable
from springtide.testing.admin import Admin, cluster_status
from springtide.wire.v1 import admin_pb2

#: The record is swapped, and members that do not answer are waited for.
WAIT_SECONDS = 30.0


def minimum(uri: str, number: int, epoch: int | None, yes: bool) -> int:
    with admin(uri) as nodes:
        status = _status(nodes)
        primary = _primary(status)
        present = status["min_in_sync"]
        if number < present:
            click.echo(
                f"From then on a commit may be on {number} node{'s' * (number > 1)} only: who loses "
                f"{'that disk' if number == 1 else 'those disks'} loses it. Nothing that is committed is lost by this."
            )
        else:
            click.echo(f"From then on commits wait while fewer than {number} nodes are in sync.")
        if not yes or (number < present and epoch is None):
            again = f"--epoch {status['epoch']} --yes" if number < present else "--yes"
            return _nothing(f"the minimum stays {present}. To change it to {number}, add {again}")
        asked = admin_pb2.SetMinimumRequest(minimum=number, epoch=epoch or 0)
        _say(nodes.call(primary, "SetMinimum", asked, WAIT_SECONDS))
    return 0


def remove(uri: str, node: str, yes: bool) -> int:
    with admin(uri) as nodes:
        status = _status(nodes)
        primary = _primary(status)
        click.echo(
            f"From then on commits do not wait for {node}, and it cannot take over. If it runs, it comes back by "
            "itself when it has caught up."
        )
        if not yes:
            return _nothing(f"{node} stays in the set. To take it out, add --yes")
        _say(nodes.call(primary, "Remove", admin_pb2.RemoveRequest(node=node), WAIT_SECONDS))
    return 0


def force(uri: str, epoch: int | None, off: Sequence[str], yes: bool) -> int:
    with admin(uri) as nodes:
        if len(nodes.addresses) != 1:
            raise BadRequest("name the one node that shall lead, as in springtide://db3:8550")
        (address,) = nodes.addresses
        status = _status(nodes)
        chosen = next((one for one in status["nodes"] if one["reachable"] and one["address"] == address), None)
        if chosen is None:
            raise Unreachable(f"the node at {address} does not answer: start it, or name the one that shall lead")
        if not chosen["record_epoch"]:
            raise Unreachable(f"{chosen['node']} has not heard of the coordinator's record yet: wait, or see its log")
        _foresee(status, chosen)
        if not yes or epoch is None:
            return _nothing(f"to have {chosen['node']} lead all the same, add --epoch {chosen['record_epoch']} --yes")
        answer = nodes.call(address, "Force", admin_pb2.ForceRequest(epoch=epoch, off=off), WAIT_SECONDS)
    click.echo(f"{chosen['node']} leads in epoch {answer.epoch}, with history {answer.history}.")
    if answer.fenced:
        click.echo(f"These nodes were told, and follow: {', '.join(answer.fenced)}.")
    if answer.unfenced:
        click.echo(f"These were not reached: {', '.join(answer.unfenced)}. They follow when they are started.")
    click.echo(
        f"Commits go on when {status['min_in_sync']} nodes are in sync; if no more will come, see `springtide minimum`."
    )
    return 0


def _foresee(status: dict[str, Any], chosen: dict[str, Any]) -> None:
    """What would be lost, as far as anybody who answers can tell."""
    name = chosen["node"]
    click.echo(f"{name}'s data would become the cluster's, in a new history. Its log ends at {chosen['last']}.")
    if chosen["in_sync"]:
        click.echo("It is in sync.")
    else:
        click.echo("It is NOT in sync: commits that were acknowledged may be missing on it.")
    further = [one for one in status["nodes"] if one["reachable"] and _end(one) > _end(chosen)]
    for one in further:
        click.echo(f"Node {one['node']} holds more: its log ends at {one['last']}. Rather choose that one.")
    silent = [one["node"] or one["address"] for one in status["nodes"] if not one["reachable"]]
    there = {one["node"] for one in status["nodes"] if one["reachable"]}
    silent += [node for node in status["in_sync"] if node not in there and node not in silent]
    if silent:
        click.echo(f"These do not answer, and what only they hold would be lost: {', '.join(silent)}.")
    click.echo(
        "What other nodes hold beside it they set aside (springtide diverged); clients drop what they cached of it."
    )


def _end(node: dict[str, Any]) -> tuple[int, ...]:
    return tuple(int(part) for part in node["last"].split("/"))


def _status(nodes: Admin) -> dict[str, Any]:
    status = cluster_status(nodes)
    check_answered(status)
    click.echo(
        f"Epoch {status['epoch']}, primary {status['primary'] or '(none)'}, in sync "
        f"{', '.join(status['in_sync']) or '(none)'}, at least {status['min_in_sync']}."
    )
    return status


def _primary(status: dict[str, Any]) -> str:
    for node in status["nodes"]:
        if node["reachable"] and node["node"] == status["primary"]:
            return str(node["address"])
    raise Unreachable("no node that answers is the primary: see `springtide status`")


def _nothing(hint: str) -> int:
    click.echo(f"Nothing was changed: {hint}.")
    return 1


def _say(answer: Any) -> None:
    members = ", ".join(member.node for member in answer.in_sync)
    click.echo(f"Done, in epoch {answer.epoch}: in sync {members}, at least {answer.min_in_sync}.")
