"""What operators do while all that goes on."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from random import Random
from typing import Any

from springtide import errors
from springtide.coordinator import topology
from springtide.node.core import NodeCore
from springtide.records.ids import NodeId
from springtide.records.packs import PackBegin
from springtide.testing.simulator.cluster import Cluster
from springtide.testing.simulator.troubles.base import Act, Trouble


class OperatorActs(Trouble):
    """Each through a primary, which may lose its role meanwhile: then it does not come to it."""

    def __init__(self, cluster: Cluster, rnd: Random, counts: Counter[str]) -> None:
        super().__init__(cluster, rnd, counts)
        self._asked: list[asyncio.Task[None]] = []

    def acts(self) -> dict[str, Act]:
        return {
            "hand over": self._hand_over,
            "pack": self._pack,
            "minimum changed": self._minimum,
            "node removed": self._remove,
        }

    def _core(self) -> NodeCore | None:
        """Of the primary, if it listens."""
        primary = self._cluster.primary()
        return primary.core if primary is not None and primary.life is not None and not primary.life.paused else None

    def _ask(self, node: NodeCore, what: str, work: Coroutine[Any, Any, object]) -> bool:
        self.tell(f"{node.node} is asked {what}")

        async def ask() -> None:
            try:
                await work
            except (errors.SpringtideError, topology.Refusal) as error:
                self.tell(f"{node.node} was asked {what}, and did not: {error}")

        life = self._cluster.nodes[node.node].life
        assert life is not None, "it listens"
        # Held here: nobody else holds a task that nobody waits for.
        self._asked = [*(task for task in self._asked if not task.done()), life.start(ask())]
        return True

    def _hand_over(self) -> bool:
        core = self._core()
        return core is not None and self._ask(core, "to hand over", core.hand_over(None))

    def _pack(self) -> bool:
        core, tids = self._core(), sorted(self._cluster.judge.state.transactions)[-10:]
        if core is None or core.reign is None or not tids:
            return False
        tid, kept = self._random.choice(tids), self._random.choice((1, 1, 3))
        self._cluster.seen["packs begun"] += 1
        return self._ask(core, f"to pack to {tid.hex()}", _ended(core.reign.packing.start(PackBegin(tid, False, kept))))

    def _minimum(self) -> bool:
        core = self._core()
        if core is None or core.record is None:
            return False
        # Whoever lowers it below what is lost already gives up what the former one promised.
        least = self._cluster.lost_disks() + 1
        minimum, epoch = self._random.randint(least, max(least, len(core.record.in_sync))), core.record.epoch
        change = core.as_primary.change
        wanted = change(lambda record: topology.set_minimum(record, minimum=minimum, epoch=epoch, change=core.fresh()))
        return self._ask(core, f"for a minimum of {minimum}", wanted)

    def _remove(self) -> bool:
        """It comes back by itself if it is there."""
        core, node = self._core(), self.some()
        if core is None or NodeId(node.name) == core.node:
            return False
        change = core.as_primary.change
        wanted = change(lambda record: topology.remove(record, node=NodeId(node.name), change=core.fresh()))
        return self._ask(core, f"to remove {node.name}", wanted)


async def _ended(task: asyncio.Task[None]) -> None:
    await asyncio.wait((task,))
