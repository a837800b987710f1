"""``springtide handover``."""

from __future__ import annotations

from springtide.cli.status import check_answered
from springtide.cli.uri import admin
from springtide.errors import Unreachable
from springtide.testing.admin import cluster_status
from springtide.wire.v1 import admin_pb2

#: The target first copies what it lacks.
WAIT_SECONDS = 60.0


def run(uri: str, to: str) -> int:
    with admin(uri) as nodes:
        status = cluster_status(nodes)
        check_answered(status)
        address = next((n["address"] for n in status["nodes"] if n["node"] == status["primary"]), None)
        if status["primary"] is None or address is None:
            raise Unreachable("no node that answers is the primary: see `springtide status`")
        answer = nodes.call(address, "HandOver", admin_pb2.HandOverRequest(to=to), WAIT_SECONDS)
    print(f"{answer.primary} leads in epoch {answer.epoch}; before, it was {status['primary']}")
    return 0
