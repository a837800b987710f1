"""From a URI to a database."""

from __future__ import annotations

from typing import Any

from springtide.client.config import parse
from springtide.client.storage import ClusterStorage


def open_storage(uri: str, **options: Any) -> ClusterStorage:
    """The storage that ``uri`` names; ``options`` are ClusterStorage's, and win."""
    location = parse(uri)
    tls = {} if "tls" in options else location.tls
    return ClusterStorage(location.nodes, **{**location.storage, **tls, **options})


def open(uri: str, *, storage: dict[str, Any] | None = None, **database: Any) -> Any:
    """A ``ZODB.DB`` on the cluster that ``uri`` names.

    Keyword arguments are ``ZODB.DB``'s, and those in ``storage`` ClusterStorage's; both win over the URI.
    """
    from ZODB import DB

    opened = open_storage(uri, **(storage or {}))
    try:
        return DB(opened, **{**parse(uri).database, **database})
    except BaseException:
        opened.close()
        raise
