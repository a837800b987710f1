"""Bounds of following.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    #: A stream on which nothing was heard for this long is given up. Heartbeats come
    #: every quarter second, and whoever decides about elections looks earlier.
    silence_seconds: float = 3.0
    #: Received and not yet durable. Two large transactions, or thousands of small ones.
    append_bytes_max: int = 64 * 2**20
    #: Committed and not yet applied. Beyond it the state is slower than the cluster.
    overlay_bytes_max: int = 256 * 2**20
    #: Messages not yet taken by the stream. The primary takes them as fast as it sends heartbeats.
    unsent_max: int = 1_000
