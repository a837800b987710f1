"""Addresses and URIs, and what is said about wrong ones."""

from __future__ import annotations

import pytest

from springtide.client.config import addresses, parse
from springtide.errors import ConfigError


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("a:1", ("a:1",)),
        ("a:1, b:2,a:1", ("a:1", "b:2")),
        (["a:1", "b"], ("a:1", "b:8550")),
        ("[::1]:7,[::2]", ("[::1]:7", "[::2]:8550")),
    ],
)
def test_addresses(given, expected):
    assert addresses(given) == expected


@pytest.mark.parametrize(
    ("given", "named"),
    [("", "no node"), ("a:b", "a:b"), ("a:70000", "a:70000"), (":1", ":1"), ("::1:7", "IPv6")],
)
def test_wrong_addresses_are_named(given, named):
    with pytest.raises(ConfigError, match=named):
        addresses(given)


def test_a_uri_names_nodes_and_options():
    location = parse(
        "springtide://a:1,b:2/?cache_bytes=64MB&read_only=yes&wait=0&timeout=2.5&sync=strict&label=web"
        "&tls_ca=ca.pem&pool_size=20&database_name=main"
    )
    assert location.nodes == ("a:1", "b:2")
    assert location.storage == {
        "cache_bytes": 64 * 2**20, "read_only": True, "wait": False, "timeout": 2.5, "sync": "strict", "label": "web",
    }  # fmt: skip
    assert location.tls == {"tls_ca": "ca.pem"}
    assert location.database == {"pool_size": 20, "database_name": "main"}


def test_options_of_the_database_have_zodburis_names_too():
    assert parse("springtide://a:1?connection_pool_size=9").database == {"pool_size": 9}


@pytest.mark.parametrize(
    ("uri", "named"),
    [
        ("zeo://a:1", "zeo://a:1"),
        ("a:1", "springtide://"),
        ("springtide://", "no node"),
        ("springtide://a:1/path", "between"),
        ("springtide://a:1?cache=1", "'cache'; there are: name, cache_bytes"),
        ("springtide://a:1?cache_bytes=many", "cache_bytes: 'many' should be a size"),
        ("springtide://a:1?read_only=maybe", "read_only: 'maybe' should be \"true\""),
        ("springtide://a:1?timeout=-1", "timeout: '-1' should be a number of seconds"),
        ("springtide://a:1?sync=never", "sync: 'never' should be one of session"),
        ("springtide://a:1?pool_size=x", "pool_size: 'x' should be a whole number"),
    ],
)
def test_wrong_uris_say_what_is_wrong(uri, named):
    with pytest.raises(ConfigError, match=named):
        parse(uri)
