"""What every method needs that changes something: an open storage that may be written to."""

from __future__ import annotations

from ZODB.POSException import ReadOnlyError

from springtide.client.cluster import Cluster


class Writable:
    _cluster: Cluster
    _name: str
    _read_only: bool

    def _writable(self) -> None:
        """Raises ReadOnlyError, or StorageClosed."""
        self._cluster.check_open()
        if self._read_only:
            raise ReadOnlyError(f"{self._name} was opened read-only")
