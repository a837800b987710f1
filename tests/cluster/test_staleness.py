"""A node that hears of no primary for a while says so, and clients that read there go elsewhere."""

from __future__ import annotations

import grpc
import pytest
import ZODB
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.testing.cluster import LocalCluster


def serving(cluster, node):
    with grpc.insecure_channel(cluster.address(node)) as channel:
        asked = health_pb2.HealthCheckRequest(service="springtide.wire.v1.Storage")
        return (
            health_pb2_grpc.HealthStub(channel).Check(asked, timeout=5).status == health_pb2.HealthCheckResponse.SERVING
        )


def said_stale(status, node):
    return any(n["node"] == node and "may be old" in n["note"] for n in status["nodes"] if n["reachable"])


@pytest.mark.timeout(120)
def test_a_node_that_is_left_alone_says_that_it_may_be_old_and_is_read_all_the_same():
    with LocalCluster(3, settings={"staleness_max_seconds": 2.0}) as cluster:
        cluster.wait_in_sync()
        db = ZODB.DB(cluster.storage())
        with db.transaction() as connection:
            connection.root()["x"] = 1
        left = next(node for node in cluster.nodes if node != cluster.primary())
        assert serving(cluster, left)
        others = [node for node in cluster.nodes if node != left]

        for other in others:
            cluster.pause(other)
        cluster.wait_for("it says so", lambda status: said_stale(status, left))
        assert not serving(cluster, left)
        db.cacheMinimize()
        with db.transaction() as connection:
            assert connection.root()["x"] == 1

        for other in others:
            cluster.resume(other)
        cluster.wait_in_sync()
        cluster.wait_for("it is well", lambda status: not said_stale(status, left))
        cluster.wait_for("balancers hear it", lambda _: serving(cluster, left))
        db.close()
