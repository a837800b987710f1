"""Is what is read here perhaps old?

A node that has had no proof for a while, from a primary that itself had proof, says so: clients go where
there is news, if they can reach it, and balancers send them there. What is read stays one exact snapshot.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from springtide.node.core import NodeCore

log = logging.getLogger(__name__)


async def watch(core: NodeCore) -> None:
    """Keep ``core.stale`` true to what is known, and tell when it changes."""
    loop, longest = asyncio.get_running_loop(), core.settings.staleness_max_seconds
    core.as_replica.proven(loop.time())
    while True:
        now = loop.time()
        proven = core.as_replica.proven_at if core.reign is None else core.reign.proven_at(now)
        if (now - proven > longest) != core.stale:
            core.stale = not core.stale
            if core.stale:
                log.warning("node %s: no proof for %g s that what is read here is not old", core.node, longest)
            else:
                log.info("node %s: what is read here is not old any more", core.node)
            core.topology_changed()
        await asyncio.sleep(min(0.5, longest / 4))
