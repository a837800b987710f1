"""Addresses and URIs: ``springtide://host:port,host:port/?cache_bytes=64MB&read_only=true``.

Parsing is pure; ``open`` makes a database of what was parsed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from springtide.errors import ConfigError

SCHEME = "springtide"
PORT = 8550


def addresses(nodes: str | Iterable[str]) -> tuple[str, ...]:
    """Node addresses as "host:port", from a list or from one text with commas."""
    listed = nodes.split(",") if isinstance(nodes, str) else list(nodes)
    found = tuple(dict.fromkeys(_address(each.strip()) for each in listed if each.strip()))
    if not found:
        raise ConfigError('no node is named: give at least one address as "host:port"')
    return found


def _address(text: str) -> str:
    host, colon, port = text.rpartition(":")
    if not colon or (text.startswith("[") and text.endswith("]")):
        host, port = text, str(PORT)
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ConfigError(f'{text!r}: write IPv6 addresses as "[address]:port"')
    if "@" in host:
        raise ConfigError(f'{text!r}: an address names no user; it should look like "host:port"')
    if not _HOST.fullmatch(host) or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ConfigError(f'{text!r} is not an address: it should look like "host:port"')
    return f"{host}:{port}"


_HOST = re.compile(r"\[[0-9A-Fa-f:.]+(%\w+)?\]|[\w.-]+")
_UNITS = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "kib": 2**10, "mib": 2**20, "gib": 2**30}


def _bytes(text: str) -> int:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text[len(digits) :].strip().lower()
    if not digits.isdecimal() or unit not in _UNITS:
        raise ValueError('a size such as "64MB" or a number of bytes')
    return int(digits) * _UNITS[unit]


def _seconds(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise ValueError("a number of seconds")
    return seconds


def _flag(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise ValueError('"true" or "false"')


def _one_of(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError("one of " + ", ".join(allowed))
        return text

    return parse


def _number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


#: Options of the storage, and of the database that is made on it, with what their values must be.
STORAGE_OPTIONS: dict[str, Callable[[str], Any]] = {
    "name": str,
    "cache_bytes": _bytes,
    "wait": _flag,
    "timeout": _seconds,
    "finish_timeout": _seconds,
    "read_only": _flag,
    "sync": _one_of("session", "latest", "strict"),
    "label": str,
    "balance_reads": _flag,
}
TLS_OPTIONS = {
    "tls_ca": "ca",
    "tls_cert": "cert",
    "tls_key": "key",
    "tls_server_name": "server_name",
}
DATABASE_OPTIONS: dict[str, Callable[[str], Any]] = {
    "database_name": str,
    "pool_size": _number,
    "cache_size": _number,
    "cache_size_bytes": _bytes,
    "large_record_size": _bytes,
}


@dataclass(frozen=True, slots=True)
class Location:
    """What a URI says: where the cluster is, and the options it names."""

    nodes: tuple[str, ...]
    storage: dict[str, Any] = field(default_factory=dict)
    tls: dict[str, str] = field(default_factory=dict)
    database: dict[str, Any] = field(default_factory=dict)


def parse(uri: str) -> Location:
    """What ``uri`` says; ``ConfigError`` names the part that is wrong."""
    scheme, separator, _ = uri.partition("://")
    if not separator or scheme.lower() != SCHEME:
        raise ConfigError(f'{uri!r} is not a URI of a cluster: it should begin with "{SCHEME}://"')
    try:
        parts = urlsplit(uri)
    except ValueError:
        raise ConfigError(f'{uri!r}: write IPv6 addresses as "[address]:port"') from None
    if parts.path not in ("", "/") or parts.fragment:
        raise ConfigError(f'{uri!r}: nothing may stand between the addresses and "?"')
    location = Location(addresses(parts.netloc))
    for option, text in parse_qsl(parts.query, keep_blank_values=True):
        if option in TLS_OPTIONS:
            location.tls[TLS_OPTIONS[option]] = text
        elif option in STORAGE_OPTIONS:
            location.storage[option] = _value(option, text, STORAGE_OPTIONS[option])
        elif option in DATABASE_OPTIONS:
            location.database[option] = _value(option, text, DATABASE_OPTIONS[option])
        else:
            known = ", ".join([*STORAGE_OPTIONS, *TLS_OPTIONS, *DATABASE_OPTIONS])
            raise ConfigError(f"unknown option {option!r}; there are: {known}")
    return location


def _value(option: str, text: str, parser: Callable[[str], Any]) -> Any:
    try:
        return parser(text)
    except ValueError as error:
        raise ConfigError(f"option {option}: {text!r} should be {error}") from None
