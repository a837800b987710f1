"""Which nodes a URI names."""

from __future__ import annotations

from springtide.client import config
from springtide.client.tls import tls_of
from springtide.testing.admin import Admin


def admin(uri: str) -> Admin:
    """The nodes that ``uri`` names: as applications write it, or only ``host:port,host:port``."""
    if "://" not in uri:
        return Admin(config.addresses(uri))
    location = config.parse(uri)
    return Admin(location.nodes, tls_of(location))


def full(uri: str) -> str:
    """The URI that applications would write."""
    return uri if "://" in uri else f"{config.SCHEME}://{uri}"
