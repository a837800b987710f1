"""For tests of applications: a real cluster of real processes on loopback.

from springtide.testing import LocalCluster

with LocalCluster(nodes=3) as cluster:
    db = ZODB.DB(cluster.storage())
    ...
    cluster.kill(cluster.primary())
"""

from springtide.testing.cluster import ClusterFailed, LocalCluster

__all__ = ["ClusterFailed", "LocalCluster"]
