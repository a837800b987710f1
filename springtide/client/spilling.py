"""Where the records of large transactions wait, for their vote or for being read: a temporary file each, not memory.

The file has no name. It goes with the transaction, whether that is committed, aborted or forgotten, and with
the process.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ZODB.POSException import POSError

from springtide import errors
from springtide.client import transaction as tx
from springtide.client.errors import SpillFailed
from springtide.spool import FileSpool

SPILL_BYTES = 16 * 2**20


@dataclass(frozen=True, slots=True)
class Spilling:
    """``directory``: the system's for temporary files, if None."""

    bytes_max: int = SPILL_BYTES
    directory: Path | None = None

    def buffer(self) -> tx.Buffer:
        """For a new transaction."""
        return tx.Buffer(spill_bytes=self.bytes_max, make_file=self.file)

    def file(self) -> FileSpool:
        return FileSpool(self.directory)

    @contextmanager
    def translated(self) -> Iterator[None]:
        """Errors of the file, as ZODB knows errors."""
        try:
            yield
        except (errors.NoSpace, errors.DiskFailed) as error:
            if isinstance(error, POSError):
                raise
            raise SpillFailed(
                f"the records of a large transaction cannot be kept: {error}. Abort it; see spill_dir and spill_bytes"
            ) from error
