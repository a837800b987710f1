"""The operator of a simulated cluster, who does what the documentation says."""

from __future__ import annotations

from typing import TYPE_CHECKING

from springtide.coordinator import topology
from springtide.records.ids import Member, NodeId
from springtide.records.position import ORIGIN

if TYPE_CHECKING:
    from springtide.testing.simulator.cluster import Cluster


class Operator:
    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._recovered = 0
        #: Nodes stay down, whatever else would start them, until the record is written again.
        self.keeps_down = False

    def recover(self) -> None:
        """``springtide recover``: every node is stopped, and the one whose log ends last goes on."""
        cluster = self._cluster
        for node in cluster.nodes.values():
            node.crash()
        whole = [
            p for p in cluster.platters.values() if p.importing is None and p.last != ORIGIN and p.identity.cluster
        ]
        best = max(whole, key=lambda platter: (platter.last.epoch, platter.last.lsn))
        self._recovered += 1
        self.keeps_down = False
        record = topology.recover(
            cluster=best.identity.cluster,
            history=best.identity.history,
            me=Member(NodeId(best.identity.node), best.identity.incarnation),
            uptime=f"recovered-{self._recovered}",
            epochs_seen=max(platter.identity.promised for platter in cluster.platters.values()),
            minimum=topology.minimum_for(len(cluster.nodes)),
            change=f"recovery-{self._recovered}",
        )
        cluster.tell(f"the operator recovers the record at {best.identity.node}, whose log ends at {best.last}")
        cluster.judge.doubts()
        cluster.store.recovered(record)
        for node in cluster.nodes.values():
            node.start()
