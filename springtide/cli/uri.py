"""Which nodes a URI names."""

from __future__ import annotations

from pathlib import Path

from springtide.client import config
from springtide.testing.admin import Admin
from springtide.wire.channels import Tls


def admin(uri: str) -> Admin:
    """The nodes that ``uri`` names: as applications write it, or only ``host:port,host:port``."""
    if "://" not in uri:
        return Admin(config.addresses(uri))
    location = config.parse(uri)
    tls = None
    if location.tls:
        ca, cert, key = (_path(location.tls.get(name)) for name in ("authority", "certificate", "key"))
        tls = Tls(ca, cert, key)
    return Admin(location.nodes, tls)


def full(uri: str) -> str:
    """The URI that applications would write."""
    return uri if "://" in uri else f"{config.SCHEME}://{uri}"


def _path(text: str | None) -> Path | None:
    return Path(text) if text else None
