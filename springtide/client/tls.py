"""TLS as a URI says it, and what its failures look like."""

from __future__ import annotations

from pathlib import Path

from springtide.client.config import Location
from springtide.errors import ConfigError
from springtide.wire.channels import Tls

#: What gRPC says of a connection that was accepted and then came to nothing.
_LIKE_TLS = ("handshake", "Socket closed", "Connection reset", "Broken pipe")


def tls_of(location: Location) -> Tls | None:
    """The files that the URI names; None where it says nothing of TLS."""
    return tls_from(None, **location.tls) if location.tls else None


def tls_from(
    tls: Tls | None,
    tls_ca: str | Path | None = None,
    tls_cert: str | Path | None = None,
    tls_key: str | Path | None = None,
    tls_server_name: str | None = None,
) -> Tls | None:
    """What the keyword arguments of a storage say of TLS. ``ConfigError`` where they say it twice."""
    named = tls_ca, tls_cert, tls_key, tls_server_name
    if not any(named):
        return tls
    if tls is not None:
        raise ConfigError("TLS is said twice: give either tls, or tls_ca, tls_cert, tls_key and tls_server_name")
    ca, cert, key = (Path(name) if name else None for name in named[:3])
    return Tls(ca, cert, key, tls_server_name or "")


def tls_hint(details: str) -> str:
    """What to append to ``details`` of a session that never began, where TLS is the likely cause."""
    if not any(sign in details for sign in _LIKE_TLS):
        return ""
    return " (is TLS configured on one side only, or is a certificate of another authority?)"
