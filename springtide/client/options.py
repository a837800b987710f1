"""Every option of a storage, once: keyword arguments, URIs, ZConfig sections and their documents all have these.

Pure. ``springtide/component.xml`` and the table in ``docs/configuration.md`` are made from
here (a unit test compares them, and ``REWRITE=1`` makes them anew), and the same test holds the
keyword arguments of ``ClusterStorage`` to it: the names, and the defaults.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

_UNITS = {"": 1, "b": 1, "kb": 2**10, "mb": 2**20, "gb": 2**30, "kib": 2**10, "mib": 2**20, "gib": 2**30}
_SYNC = ("session", "latest", "strict")

# -- what a value can be: each raises ValueError, whose text completes "should be ..." ------------


def size(text: str) -> int:
    digits = text.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = text[len(digits) :].strip().lower()
    if not digits.isdecimal() or unit not in _UNITS:
        raise ValueError('a size such as "64MB" or a number of bytes')
    return int(digits) * _UNITS[unit]


def seconds(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise ValueError("a number of seconds")
    return value


def flag(text: str) -> bool:
    match text.lower():
        case "1" | "true" | "yes" | "on":
            return True
        case "0" | "false" | "no" | "off":
            return False
    raise ValueError('"true" or "false"')


def number(text: str) -> int:
    if not text.isdecimal():
        raise ValueError("a whole number")
    return int(text)


def percent(text: str) -> int:
    if not text.isdecimal() or not 0 < int(text) < 100:
        raise ValueError("a percentage from 1 to 99")
    return int(text)


def sync(text: str) -> str:
    if text not in _SYNC:
        raise ValueError("one of " + ", ".join(_SYNC))
    return text


def text(text: str) -> str:
    return text


#: What the documents call these.
KINDS: Mapping[Callable[[str], Any], str] = {
    size: "size",
    seconds: "seconds",
    flag: "true or false",
    number: "number",
    percent: "1 to 99",
    sync: ", ".join(_SYNC[:-1]) + " or " + _SYNC[-1],
    text: "text",
}


@dataclass(frozen=True, slots=True)
class Option:
    """``name`` is that of the keyword argument and of the URI's option; ZConfig writes "-" for "_"."""

    name: str
    value: Callable[[str], Any]
    default: Any
    meaning: str

    @property
    def key(self) -> str:
        return self.name.replace("_", "-")


STORAGE = (
    Option("name", text, None, "What the storage is called in messages. By default, the addresses."),
    Option("cache_bytes", size, 64 * 2**20, "Memory for records, shared by all connections of the process."),
    Option(
        "cache_dir",
        text,
        None,
        "Directory in which records outlive the process; several processes of one host and cluster may use one. "
        "Needs lmdb (springtide[cache]). By default, records are kept in memory only.",
    ),
    Option("persistent_cache_bytes", size, 2**30, "How much is kept in cache_dir: the same for all that use it."),
    Option(
        "wait", flag, True, "Connect before the storage is returned, for up to timeout; else when it is first used."
    ),
    Option("timeout", seconds, 30.0, "How long a read or a vote looks for a node that can serve it."),
    Option(
        "finish_timeout",
        seconds,
        60.0,
        "How long a commit looks for what became of it, before it raises CommitOutcomeUnknown.",
    ),
    Option("read_only", flag, False, "Refuse whatever writes, with ReadOnlyError."),
    Option(
        "sync",
        sync,
        "session",
        "What a transaction that begins has seen. session: never less than before, and this process's own commits. "
        "latest: what its node had committed by then, which costs a round trip. "
        "strict: what anybody had committed by then.",
    ),
    Option("label", text, None, "What this client is called in the nodes' logs. By default, host name and process id."),
    Option("balance_reads", flag, True, "Read from all nodes; else only from the one that commits go to."),
    Option(
        "spill_bytes",
        size,
        16 * 2**20,
        "A transaction's records above this wait for their vote in a temporary file instead of in memory.",
    ),
    Option(
        "pack_gc",
        flag,
        True,
        "Whether packing takes away objects that nothing refers to, too, where whoever packs does not say.",
    ),
    Option("spill_dir", text, None, "Directory for these files. By default, the system's for temporary files."),
    Option(
        "blob_dir",
        text,
        None,
        "Directory for the files of blobs; several processes may use one. Without it, blobs are not supported.",
    ),
    Option(
        "shared_blob_dir",
        flag,
        False,
        "blob_dir is the blobs directory of a node on this machine, or on a shared file system: files are read there.",
    ),
    Option(
        "blob_cache_size",
        size,
        None,
        "How much of blob_dir to keep, less what is in use. By default, everything.",
    ),
    Option(
        "blob_cache_size_check",
        percent,
        10,
        "Look through blob_dir whenever so many percent of blob_cache_size were added.",
    ),
)

#: In a keyword argument, ``tls=springtide.wire.channels.Tls(...)`` says the same.
TLS = (
    Option("tls_ca", text, None, "PEM file of the authority that signed the nodes' certificates. Turns TLS on."),
    Option("tls_cert", text, None, "PEM file of this client's certificate, where nodes ask for one."),
    Option("tls_key", text, None, "PEM file of the key of that certificate."),
    Option("tls_server_name", text, None, "The name in the nodes' certificates, where it is not the host's."),
)

#: Of the ``ZODB.DB`` that is made of a URI. A ZConfig section leaves them to the section around it.
DATABASE = (
    Option("database_name", text, "unnamed", "The name of the database among multi-databases."),
    Option("pool_size", number, 7, "Connections in use above which ZODB warns."),
    Option("pool_timeout", seconds, None, "How long an unused connection is kept."),
    Option("cache_size", number, 400, "Objects in each connection's cache."),
    Option("cache_size_bytes", size, 0, "Bytes of objects in each connection's cache; 0: not limited."),
    Option("historical_pool_size", number, 3, "Like pool_size, for historical connections."),
    Option("historical_cache_size", number, 1_000, "Like cache_size, for historical connections."),
    Option("historical_cache_size_bytes", size, 0, "Like cache_size_bytes, for historical connections."),
    Option("historical_timeout", number, 300, "Seconds for which an unused historical connection is kept."),
    Option("large_record_size", size, 16 * 2**20, "Records above this are warned about."),
)
