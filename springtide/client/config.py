"""Addresses and URIs: ``springtide://host:port,host:port/?cache_bytes=64MB&read_only=true``.

Parsing is pure; ``opening`` makes a database of what was parsed. The options are in ``options``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from springtide.client import options
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

#: zodburi's names for options of the database.
_DATABASE_PREFIX = "connection_"
_STORAGE = {option.name: option for option in options.STORAGE}
_TLS = {option.name: option for option in options.TLS}
_DATABASE = {option.name: option for option in options.DATABASE}
_DATABASE |= {_DATABASE_PREFIX + name: option for name, option in _DATABASE.items() if name != "database_name"}


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
    for name, text in parse_qsl(parts.query, keep_blank_values=True):
        if name in _TLS:
            location.tls[name] = _value(_TLS[name], text)
        elif name in _STORAGE:
            location.storage[name] = _value(_STORAGE[name], text)
        elif name in _DATABASE:
            option = _DATABASE[name]
            location.database[option.name] = _value(option, text)
        else:
            known = ", ".join(each.name for each in (*options.STORAGE, *options.TLS, *options.DATABASE))
            raise ConfigError(f"unknown option {name!r}; there are: {known}")
    return location


def _value(option: options.Option, text: str) -> Any:
    try:
        return option.value(text)
    except ValueError as error:
        raise ConfigError(f"option {option.name}: {text!r} should be {error}") from None
