"""What is on a node's disk: the replicated log, and the state that its committed entries say.

``Engine`` is the whole of it for the rest of the node.
"""

from springtide.engine.aside import read_log
from springtide.engine.blobstore import BlobStore
from springtide.engine.engine import Engine
from springtide.engine.identity import Identity
from springtide.engine.log import Pin
from springtide.engine.snapshots import Export
from springtide.engine.values import (
    TABLES,
    Committed,
    Current,
    EngineOptions,
    Head,
    Import,
    Loaded,
    RangeDigest,
    Result,
    Trimmed,
    Undoing,
)

__all__ = [
    "TABLES",
    "BlobStore",
    "Committed",
    "Current",
    "Engine",
    "EngineOptions",
    "Export",
    "Head",
    "Identity",
    "Import",
    "Loaded",
    "Pin",
    "RangeDigest",
    "Result",
    "Trimmed",
    "Undoing",
    "read_log",
]
