"""What the log says of ids that are no longer remembered.

Pure. What became of a transaction is known by its id, for a while. An id carries the last tid
that its client had seen when the transaction began, so an id that began below the last
``before`` can be told from one that was never committed: nobody can say what became of it.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from springtide.records.entries import Malformed
from springtide.records.ids import Tid, TransactionId

_FORGET = struct.Struct(">8s8s")


@dataclass(frozen=True, slots=True)
class Forget:
    """The ids of the transactions from ``after`` on, and below ``before``, are forgotten by every node alike."""

    after: Tid
    before: Tid


def began(id: TransactionId) -> Tid:
    """The last tid that the client had seen when the transaction began; what was committed is above it."""
    return Tid(id[16:])


def encode_forget(forget: Forget) -> bytes:
    return _FORGET.pack(forget.after, forget.before)


def decode_forget(body: bytes) -> Forget:
    try:
        forget = Forget(*_FORGET.unpack(body))
    except struct.error as error:
        raise Malformed(f"an entry of {len(body)} bytes forgets nothing") from error
    if forget.after >= forget.before:
        raise Malformed(f"an entry forgets from {forget.after.hex()} to {forget.before.hex()}")
    return forget
