"""``springtide health``: whether a node on this machine serves, for whoever starts and stops it."""

from __future__ import annotations

from pathlib import Path

import click
import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from springtide.client.config import addresses
from springtide.errors import ConfigError, Unreachable
from springtide.node import config as configuration
from springtide.node.address import is_wildcard, parse_address
from springtide.node.config import NodeConfig
from springtide.testing.asking import in_words
from springtide.wire.channels import Tls, blocking

ASK_SECONDS = 3.0
SERVING = health_pb2.HealthCheckResponse.SERVING


def run(config: Path | None, address: str) -> int:
    """Ask the standard gRPC health service; raises Unreachable where it does not say that it serves."""
    if config is not None and address:
        raise click.UsageError("say either --config FILE or an address")
    if config is not None:
        asked, tls = where(configuration.load(config))
    else:
        (asked, *_), tls = addresses(address or configuration.STANDALONE_BIND), None
    with blocking(asked, tls) as channel:
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=ASK_SECONDS)
        except grpc.RpcError as error:
            raise in_words(asked, error) from None
    if answer.status != SERVING:
        raise Unreachable(f"{asked} answers, and does not serve now: it stops")
    print(f"serving at {asked}")
    return 0


def where(config: NodeConfig) -> tuple[str, Tls | None]:
    """Where a node of this configuration is reached from its own machine, and how."""
    host, port = parse_address(config.bind)
    if port == 0:
        raise ConfigError(f"the node listens at any free port (bind is {config.bind}): ask at the address that it said")
    if is_wildcard(config.bind):
        host = "::1" if ":" in host else "127.0.0.1"
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    if config.tls is None:
        return address, None
    named, _ = parse_address(config.advertise or address)
    # Its certificate names what others reach it at, which is not where it is asked here.
    return address, Tls(config.tls.ca, config.tls.cert, config.tls.key, named if named != host else "")
