"""``springtide status``."""

from __future__ import annotations

import json
import sys
from typing import Any

from rich.console import Console
from rich.table import Table

from springtide.cli.uri import admin
from springtide.errors import Unreachable
from springtide.testing.admin import cluster_status


def run(uri: str, as_json: bool) -> int:
    with admin(uri) as nodes:
        status = cluster_status(nodes)
    check_answered(status)
    if as_json:
        print(json.dumps(status, indent=2))
    else:
        _print(status)
    return 0 if len(status["clusters"]) <= 1 else 1


def check_answered(status: dict[str, Any]) -> None:
    """Raise ``Unreachable`` where no node answers."""
    if not any(node["reachable"] for node in status["nodes"]):
        reasons = "; ".join(str(node["note"]) for node in status["nodes"])
        raise Unreachable(f"no node of the cluster answers: {reasons}; check the addresses, and that the nodes run")


def _print(status: dict[str, Any]) -> None:
    # Piped somewhere, there is no width to fit into.
    console = Console() if sys.stdout.isatty() else Console(width=200)
    console.print(
        f"cluster [bold]{status['cluster'] or '(none yet)'}[/]  epoch {status['epoch']}  "
        f"primary [bold]{status['primary'] or '(none)'}[/]  in sync {', '.join(status['in_sync']) or '(none)'}  "
        f"(at least {status['min_in_sync']})  commit point {status['commit']}",
        highlight=False,
    )
    if len(status["clusters"]) > 1:
        which = ", ".join(f"{cluster} ({' '.join(nodes)})" for cluster, nodes in status["clusters"].items())
        console.print(f"[red]these are nodes of different clusters:[/] {which}; the first line is about one of them")
    table = Table(box=None, pad_edge=False)
    for column in ("node", "address", "role", "in sync"):
        table.add_column(column)
    for column in ("log end", "commit", "applied", "behind", "reads"):
        table.add_column(column, justify="right")
    table.add_column("note")
    for node in status["nodes"]:
        if node["reachable"]:
            table.add_row(
                *(node["node"], node["address"], node["role"], "yes" if node["in_sync"] else "no", node["last"]),
                *(str(node[key]) for key in ("commit", "applied", "behind", "reads_served")),
                node["note"],
            )
        else:
            table.add_row(
                node["node"] or f"{' or '.join(node['perhaps'])}?",
                node["address"],
                "[red]no answer[/]",
                *[""] * 6,
                node["note"],
            )
    console.print(table)
