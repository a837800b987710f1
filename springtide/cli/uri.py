"""Which nodes a URI names."""

from __future__ import annotations

from springtide.errors import ConfigError
from springtide.node.address import parse_address
from springtide.testing.admin import Admin


def addresses(uri: str) -> tuple[str, ...]:
    """The addresses in ``springtide://host:port,host:port`` or in ``host:port,host:port``."""
    named = uri.removeprefix("springtide://").partition("?")[0].partition("/")[0]
    found = tuple(part.strip() for part in named.split(",") if part.strip())
    try:
        for address in found:
            parse_address(address)
    except ValueError:
        found = ()
    if not found:
        raise ConfigError(f'"{uri}" names no nodes: say host:port,host:port or springtide://host:port,host:port')
    return found


def admin(uri: str) -> Admin:
    return Admin(addresses(uri))
