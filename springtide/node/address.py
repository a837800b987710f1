"""Addresses as users write them: host:port, an IPv6 host in brackets."""

from __future__ import annotations

import ipaddress


def parse_address(value: str) -> tuple[str, int]:
    """Host and port of ``host:port`` or ``[ipv6]:port``; ValueError where it is not one."""
    host, colon, port = value.rpartition(":")
    if host.startswith("[") and host.endswith("]"):
        host = host[1:-1]
    elif ":" in host:
        host = ""
    if not colon or not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError('must be "host:port" with a port up to 65535, an IPv6 host in brackets')
    return host, int(port)


def is_loopback(address: str) -> bool:
    host, _ = parse_address(address)
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def is_wildcard(address: str) -> bool:
    host, _ = parse_address(address)
    return host in ("0.0.0.0", "::")
