"""Springtide: a replicated, fault-tolerant storage cluster for ZODB.

What an application needs is here: ``ClusterStorage``, ``open``, and the three errors
that it may want to catch by name (all others are in ``springtide.client.errors``).
They are loaded when first used, so that a node does not load what only clients need.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from springtide.client.errors import ClusterUnavailable, CommitOutcomeUnknown, NotCommitted
    from springtide.client.opening import open
    from springtide.client.storage import ClusterStorage

__all__ = ["ClusterStorage", "ClusterUnavailable", "CommitOutcomeUnknown", "NotCommitted", "errors", "open"]

_WHERE = {
    "ClusterStorage": "springtide.client.storage",
    "ClusterUnavailable": "springtide.client.errors",
    "CommitOutcomeUnknown": "springtide.client.errors",
    "NotCommitted": "springtide.client.errors",
    "open": "springtide.client.opening",
}


def __getattr__(name: str) -> Any:
    if name == "errors":
        return import_module("springtide.errors")
    if name in _WHERE:
        return getattr(import_module(_WHERE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
