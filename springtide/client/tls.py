"""TLS as a URI says it."""

from __future__ import annotations

from pathlib import Path

from springtide.client.config import Location
from springtide.wire.channels import Tls


def tls_of(location: Location) -> Tls | None:
    """The files that the URI names; None where it says nothing of TLS."""
    if not location.tls:
        return None
    ca, cert, key = (Path(location.tls[name]) if name in location.tls else None for name in ("ca", "cert", "key"))
    return Tls(ca, cert, key, location.tls.get("server_name", ""))
