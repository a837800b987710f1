"""TLS as a URI says it, and what its failures look like."""

from __future__ import annotations

from pathlib import Path

from springtide.client.config import Location
from springtide.wire.channels import Tls

#: What gRPC says of a connection that was accepted and then came to nothing.
_LIKE_TLS = ("handshake", "Socket closed", "Connection reset", "Broken pipe")


def tls_of(location: Location) -> Tls | None:
    """The files that the URI names; None where it says nothing of TLS."""
    if not location.tls:
        return None
    ca, cert, key = (Path(location.tls[name]) if name in location.tls else None for name in ("ca", "cert", "key"))
    return Tls(ca, cert, key, location.tls.get("server_name", ""))


def tls_hint(details: str) -> str:
    """What to append to ``details`` of a session that never began, where TLS is the likely cause."""
    if not any(sign in details for sign in _LIKE_TLS):
        return ""
    return " (is TLS configured on one side only, or is a certificate of another authority?)"
