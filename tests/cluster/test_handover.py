"""The role changes hands because somebody asked for it: nobody waits for a lease, and nothing is lost."""

from __future__ import annotations

import threading
from pathlib import Path

import grpc
import pytest
import transaction
import ZODB
from click.testing import CliRunner
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from springtide.cli.main import springtide as command
from springtide.testing.cluster import LocalCluster
from tests.cluster.load import Load, check_equal


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_switchovers_and_sigterm_under_load(tmp_path: Path) -> None:
    with LocalCluster(3) as cluster:
        with Load(cluster, tmp_path) as load:
            for _ in range(2):
                for node in cluster.nodes:
                    cluster.wait_in_sync()
                    if node != cluster.primary():
                        done = CliRunner().invoke(command, ["handover", cluster.uri, "--to", node])
                        assert done.exit_code == 0, done.output
                    assert cluster.primary() == node
                cluster.wait_in_sync()
                last = cluster.primary()
                before = cluster.status()["epoch"]
                cluster.stop(last)  # SIGTERM: it hands over before it ends
                assert "handed over to" in cluster.logs(last)
                assert cluster.primary() != last and cluster.status()["epoch"] == before + 1
                cluster.start(last)
        load.check()
        check_equal(cluster)


def test_what_cannot_be_handed_over_says_why() -> None:
    with LocalCluster(2) as cluster:
        other = next(node for node in cluster.nodes if node != cluster.primary())
        for words, says in ((["--to", "nobody"], "nobody"), (["--to", cluster.primary()], "in sync and connected")):
            asked = CliRunner().invoke(command, ["handover", cluster.uri, *words])
            assert asked.exit_code != 0 and says in str(asked.exception or asked.output)
        cluster.kill(other)
        asked = CliRunner().invoke(command, ["handover", cluster.uri])
        assert asked.exit_code != 0


def test_a_handover_that_does_not_happen_is_told_in_the_nodes_own_words() -> None:
    """Not as if the node that was asked did not answer."""
    with LocalCluster(2, settings={"stall_seconds": 20.0, "lease_seconds": 20.0}) as cluster:
        other = next(node for node in cluster.nodes if node != cluster.primary())
        db = ZODB.DB(cluster.storage())
        root = db.open(manager := transaction.TransactionManager()).root()
        root["what the other node lacks"] = 1
        cluster.pause(other)
        committing = threading.Thread(target=manager.commit)
        committing.start()
        cluster.wait_for(
            "the primary has it",
            lambda status: any(n["reachable"] and int(n["last"].split("/")[1]) > n["commit"] for n in status["nodes"]),
        )
        asked = CliRunner().invoke(command, ["handover", cluster.uri])
        cluster.resume(other)
        committing.join()
        db.close()
        assert asked.exit_code != 0
        assert str(asked.exception or asked.output).endswith(f"did not take over from {cluster.primary()} within 5 s")


def test_the_standard_health_and_reflection_services_answer() -> None:
    with LocalCluster(1) as cluster, grpc.insecure_channel(cluster.addresses[0]) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        for service in ("", "springtide.wire.v1.Storage"):
            answer = health.Check(health_pb2.HealthCheckRequest(service=service), timeout=10)
            assert answer.status == health_pb2.HealthCheckResponse.SERVING

        asked = reflection_pb2.ServerReflectionRequest(list_services="")
        (told,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([asked]), timeout=10)
        names = {service.name for service in told.list_services_response.service}
        assert {"springtide.wire.v1.Storage", "springtide.wire.v1.Replication", "springtide.wire.v1.Admin"} <= names
