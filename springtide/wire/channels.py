"""gRPC channels and servers: limits, keepalive and TLS in one place."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from springtide.errors import ConfigError, Unreachable
from springtide.wire import MESSAGE_BYTES_MAX

#: Room for a full chunk and what is said about it.
_MESSAGE_LIMIT = MESSAGE_BYTES_MAX + 2**20

#: What may be under way to one reader of a stream who does not read. A window that gRPC sizes by its own measurements
#: of a fast network grows to tens of megabytes, and a slow disk at the end of it fills that. 80 MB/s at 50 ms.
_WINDOW_BYTES = 4 * 2**20
_WINDOW: tuple[tuple[str, Any], ...] = (("grpc.http2.bdp_probe", 0), ("grpc.http2.lookahead_bytes", _WINDOW_BYTES))

OPTIONS: tuple[tuple[str, Any], ...] = (
    *_WINDOW,
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    # A half-open connection is found in seconds, also where nothing is sent.
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.keepalive_permit_without_calls", 0),
    # Reconnecting is this project's business: quick, bounded, with its own jitter.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
    # Nodes of different lives of one address must not share a connection.
    ("grpc.use_local_subchannel_pool", 1),
)

SERVER_OPTIONS: tuple[tuple[str, Any], ...] = (
    *_WINDOW,
    ("grpc.max_send_message_length", _MESSAGE_LIMIT),
    ("grpc.max_receive_message_length", _MESSAGE_LIMIT),
    ("grpc.keepalive_time_ms", 5_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.http2.min_recv_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.min_ping_interval_without_data_ms", 1_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.http2.max_pings_without_data", 0),
    # Two servers on one port would share its connections at random; the second must fail.
    ("grpc.so_reuseport", 0),
)


@dataclass(frozen=True, slots=True)
class Tls:
    """Paths of PEM files. ``ca`` signs the other side's certificate; ``cert`` and ``key`` are this side's."""

    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
    #: The name in the other side's certificate, where it is not the host of its address.
    server_name: str = ""

    def options(self) -> tuple[tuple[str, Any], ...]:
        return (("grpc.ssl_target_name_override", self.server_name),) if self.server_name else ()

    def _read(self, path: Path | None) -> bytes | None:
        if path is None:
            return None
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise ConfigError(f"TLS file {path} cannot be read: {error.strerror}; check its name and mode") from error

    def check(self) -> None:
        """Raises ConfigError, with their names, for files that are not what they should be."""
        for path in (self.ca, self.cert, self.key):
            self._read(path)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.set_ciphers("DEFAULT:@SECLEVEL=0")  # whether a key is long enough is decided elsewhere
        try:
            if self.ca is not None:
                context.load_verify_locations(self.ca)
        except ssl.SSLError as error:
            raise ConfigError(f"TLS file {self.ca} (ca) holds no certificate in PEM form; check the file") from error
        try:
            if self.cert is not None and self.key is not None:
                context.load_cert_chain(self.cert, self.key, password=lambda: "")  # which would be asked for otherwise
        except ssl.SSLError as error:
            raise ConfigError(
                f"TLS files {self.cert} (cert) and {self.key} (key) are not a certificate and its own key, both in PEM "
                f"form and without a password ({error.reason or error}); check both files"
            ) from error

    def client(self) -> grpc.ChannelCredentials:
        """Raises ConfigError for a file that cannot be read, and for a certificate without its key."""
        if (self.cert is None) != (self.key is None):
            raise ConfigError("TLS: a client's certificate (cert) needs its key, and a key its certificate")
        return grpc.ssl_channel_credentials(self._read(self.ca), self._read(self.key), self._read(self.cert))

    def server(self) -> grpc.ServerCredentials:
        """Raises ConfigError unless the files are what they should be."""
        self.check()
        key, cert = self._read(self.key), self._read(self.cert)
        if key is None or cert is None:
            raise ConfigError("TLS needs both a certificate (cert) and its key (key)")
        ca = self._read(self.ca)
        return grpc.ssl_server_credentials([(key, cert)], ca, require_client_auth=ca is not None)


def blocking(address: str, tls: Tls | None = None) -> grpc.Channel:
    """A channel for plain threads."""
    if tls is None:
        return grpc.insecure_channel(address, OPTIONS)
    return grpc.secure_channel(address, tls.client(), OPTIONS + tls.options())


async def connected(channel: grpc.aio.Channel, address: str, seconds: float) -> None:
    """Wait until ``channel`` is connected. Raises Unreachable at the first refusal, or after ``seconds``.

    gRPC itself would go on trying; here whoever waits has better things to do, such as a takeover.
    """
    try:
        async with asyncio.timeout(seconds):
            state = channel.get_state(try_to_connect=True)
            while state is not grpc.ChannelConnectivity.READY:
                if state in (grpc.ChannelConnectivity.TRANSIENT_FAILURE, grpc.ChannelConnectivity.SHUTDOWN):
                    raise Unreachable(f"{address} accepts no connection: nobody listens, or TLS is not the same there")
                await channel.wait_for_state_change(state)
                state = channel.get_state(try_to_connect=True)
    except TimeoutError:
        raise Unreachable(f"{address} did not accept a connection for {seconds:g} s") from None


def asynchronous(address: str, tls: Tls | None = None) -> grpc.aio.Channel:
    """A channel for the running event loop."""
    if tls is None:
        return grpc.aio.insecure_channel(address, OPTIONS)
    return grpc.aio.secure_channel(address, tls.client(), OPTIONS + tls.options())
