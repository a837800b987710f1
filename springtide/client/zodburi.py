"""``springtide://`` for zodburi, as Pyramid and others configure databases. zodburi itself is not needed here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from springtide.client.config import parse
from springtide.client.opening import open_storage
from springtide.client.storage import ClusterStorage


def resolve(uri: str) -> tuple[Callable[[], ClusterStorage], dict[str, Any]]:
    """What makes the storage, and the options of the database in zodburi's names. ``ConfigError`` at once."""
    database = parse(uri).database
    return lambda: open_storage(uri), {
        name if name == "database_name" else f"connection_{name}": value for name, value in database.items()
    }
