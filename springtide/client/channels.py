"""gRPC channels to nodes, plain or with TLS."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from springtide import errors

#: Nodes send nothing above 4 MiB; the rest is room for their envelope.
MESSAGE_BYTES_MAX = 5 * 1024 * 1024

OPTIONS = (
    ("grpc.max_receive_message_length", MESSAGE_BYTES_MAX),
    ("grpc.max_send_message_length", MESSAGE_BYTES_MAX),
    # A TCP connection per session: a lost one takes nothing else with it, and big answers block nobody else.
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.enable_http_proxy", 0),
    ("grpc.enable_retries", 0),
    # Whether a node lives is asked on the session itself, which also finds one that hangs.
)


@dataclass(frozen=True, slots=True)
class TLS:
    """Paths of PEM files. Without ``certificate`` and ``key`` the client does not identify itself."""

    authority: str | None = None
    certificate: str | None = None
    key: str | None = None
    #: The name in the nodes' certificates, where it is not the host of their addresses.
    server_name: str | None = None


def open_channel(address: str, tls: TLS | None) -> Any:
    if tls is None:
        return grpc.insecure_channel(address, OPTIONS)
    options = OPTIONS + ((("grpc.ssl_target_name_override", tls.server_name),) if tls.server_name else ())
    return grpc.secure_channel(address, credentials(tls), options)


def credentials(tls: TLS) -> Any:
    if bool(tls.certificate) != bool(tls.key):
        raise errors.ConfigError("tls: a client certificate needs its key, and a key its certificate")
    return grpc.ssl_channel_credentials(
        root_certificates=_read("authority", tls.authority),
        private_key=_read("key", tls.key),
        certificate_chain=_read("certificate", tls.certificate),
    )


def _read(what: str, path: str | None) -> bytes | None:
    if path is None:
        return None
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise errors.ConfigError(f"tls: cannot read the {what} file {path}: {error.strerror}") from error
