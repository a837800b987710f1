"""``springtide recover``: write the coordinator's record again, after it was lost or put back.

Runs at a node that is stopped, and says what it would do before it does it. Which
node's data goes on is the operator's choice, because only he can look at all of them.
"""

from __future__ import annotations

import asyncio
import secrets
from pathlib import Path

import click

from springtide.errors import BadRequest, NoRecord
from springtide.node import config as configuration
from springtide.node.config import NodeConfig

#: Why this choice is right: whoever led last wrote in the highest epoch, and began with all that was ever
#: acknowledged; of two logs that end in one epoch, the longer one contains the other.
ADVICE = """\
Nothing was changed. Stop every node and run this at each of them. Choose the node whose log ends last, by the
epoch first, then by the lsn: what only others hold is set aside in their diverged/ directories. There, run it
again with --yes and --epochs-seen, the highest epoch promised at any node. Then start it, and then the others.
It begins a new history, because nobody can prove that it has all of the old one: clients drop what they have cached."""


def run(config: Path, epochs_seen: int | None, restored: bool, yes: bool) -> int:
    return asyncio.run(_recover(configuration.load(config), epochs_seen, restored, yes))


async def _recover(config: NodeConfig, epochs_seen: int | None, restored: bool, yes: bool) -> int:
    from springtide.coordinator import topology
    from springtide.coordinator.store import Swapped
    from springtide.engine import Engine
    from springtide.node.stores_of import open_store
    from springtide.records.ids import Member, NodeId

    engine = await asyncio.to_thread(Engine.open, config.data, config.node)
    try:
        identity = engine.identity
        store = open_store(config, config.data, 0)
        try:
            view = await store.read()
            if not identity.cluster:
                raise NoRecord(
                    f"{config.data} belongs to no cluster, so nothing can be recovered from it: start the node"
                )
            click.echo(f"node            {config.node}, cluster {identity.cluster}")
            click.echo(f"log ends at     {engine.last} (epoch/lsn), applied up to {engine.applied}")
            click.echo(f"epoch promised  {identity.promised}")
            record = view.record
            known = "none" if record is None else f"epoch {record.epoch}, primary {record.primary.node}"
            click.echo(f"record now      {known}")
            ours = record is not None and record.cluster == identity.cluster
            if record is not None and ours and record.epoch >= identity.promised and not restored:
                click.echo(
                    "Nothing to recover: the coordinator's record is not older than this node. Start the node. (Where "
                    "the coordinator was put back to an older state of the same epoch, add --restored.)"
                )
                return 0
            if record is not None and record.cluster != identity.cluster:
                raise BadRequest(
                    f"the coordinator's record is of another cluster, {record.cluster}: check the configuration's "
                    "cluster and coordinator before anything is overwritten"
                )
            minimum = config.min_in_sync or topology.minimum_for(len(config.initial_nodes))
            if record is not None:
                minimum, epochs_seen = record.minimum, max(epochs_seen, record.epoch) if epochs_seen else None
            epoch = "one above --epochs-seen" if epochs_seen is None else str(epochs_seen + 1)
            click.echo(
                f"would write     epoch {epoch}, {config.node} leads and is in sync alone, at least {minimum} nodes "
                f"for a commit (springtide minimum), history {identity.history} goes on"
            )
            if not yes or epochs_seen is None:
                click.echo(ADVICE)
                return 1
            if epochs_seen < identity.promised:
                raise BadRequest(f"--epochs-seen {epochs_seen} is below the epoch that this node has promised itself")
            new = topology.recover(
                cluster=identity.cluster,
                history=secrets.token_hex(8),
                me=Member(NodeId(config.node), identity.incarnation),
                uptime=f"recovered-{secrets.token_hex(4)}",
                epochs_seen=epochs_seen,
                minimum=minimum,
                change=secrets.token_hex(8),
            )
            if not isinstance(await store.swap(new, view.revision), Swapped):
                raise BadRequest("the record changed meanwhile: look again before you recover anything")
            click.echo(f"Written: epoch {new.epoch}, a new history, in sync is {config.node} alone.")
            click.echo("Start it now, then the others.")
            return 0
        finally:
            await store.close()
    finally:
        await engine.close()
