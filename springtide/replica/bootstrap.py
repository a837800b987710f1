"""Take the whole committed state from another node.

For a node whose last entry is older than the oldest in the primary's log, or
whose log is empty while the primary's no longer begins at the beginning. The copy
is resumable: what arrived is on disk with the key it ends at. Until it is whole
the engine says so (``complete`` is False): no reads, never in sync, not electable.
"""

from __future__ import annotations

from springtide import errors
from springtide.records.position import ORIGIN
from springtide.records.snapshot import Begin, End, Resume, Rows
from springtide.replica.files import fetch_all
from springtide.replica.ports import Importer, Peers
from springtide.replica.subscription import settled


async def bootstrap(engine: Importer, peers: Peers, address: str, cluster: str, history: str) -> None:
    """Copy the state of the node at ``address``; afterwards follow the primary from where the log now ends.

    A directory that held a log gets a new incarnation first: what it acknowledged, it will not hold.
    So look at the engine's identity again afterwards.
    Raises ``errors.Unreachable`` or ``errors.BlobMissing`` when the copy stops: call it again, with any
    other address, to go on.
    """
    await settled(engine)
    begun = False
    async for message in peers.snapshot(address, cluster, _resume(engine)):
        match message:
            case Begin():
                await _begin(engine, message, cluster, history)
                begun = True
            case _ if not begun:
                raise errors.BadRequest(f"the snapshot from {address} begins with {type(message).__name__}")
            case Rows(table=table, rows=rows):
                # Files first: a row that is here has its file, also where the copy is interrupted and goes on.
                lacking = await engine.blobs.lacking_rows(table, rows)
                await fetch_all(engine.blobs, peers, address, cluster, lacking)
                await engine.import_rows(table, rows)
            case End(complete_at=complete_at):
                await _end(engine, complete_at, address)
                return
    raise errors.Unreachable(f"the snapshot from {address} ended before its end")


def _resume(engine: Importer) -> Resume | None:
    importing = engine.importing
    return Resume(importing.base, importing.table, importing.after) if importing is not None else None


async def _begin(engine: Importer, message: Begin, cluster: str, history: str) -> None:
    if engine.importing is not None and engine.importing.base == message.base:
        return
    if engine.importing is None and engine.last != ORIGIN:
        await engine.renew_incarnation()
    await engine.begin_import(message.base, cluster, history)


async def _end(engine: Importer, complete_at: int, address: str) -> None:
    importing = engine.importing
    assert importing is not None, "an import was begun"
    if complete_at < importing.base.lsn:
        raise errors.BadRequest(f"the snapshot from {address} is older than where it began")
    await engine.end_import(complete_at)
