"""``<springtide>`` in ZConfig: what ``%import springtide`` makes of a section, for ZODB and Zope.

The keys are those of ``options``; ``springtide/component.xml`` names this module.
"""

from __future__ import annotations

from typing import Any

from ZODB.config import BaseConfig

from springtide.client import options
from springtide.client.config import addresses
from springtide.client.options import flag, number, percent, seconds, size, sync, text
from springtide.client.storage import ClusterStorage
from springtide.errors import ConfigError

__all__ = ["Section", "flag", "number", "percent", "seconds", "size", "sync", "text"]


class Section(BaseConfig):  # type: ignore[misc]
    """A section that was read. Raises ValueError, which ZConfig shows with the line, for wrong addresses."""

    def __init__(self, config: Any) -> None:
        super().__init__(config)
        try:
            self.nodes = addresses(each for line in (*config.nodes, *config.server) for each in line.split(","))
        except ConfigError as error:
            raise ValueError(f"<springtide>: {error} (key nodes, or server)") from None

    def open(self, database_name: str = "unnamed", databases: Any = None) -> ClusterStorage:
        names = (option.name for option in (*options.STORAGE, *options.TLS))
        given = {name: getattr(self.config, name) for name in names}
        return ClusterStorage(self.nodes, **{name: value for name, value in given.items() if value is not None})
