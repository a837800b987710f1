"""Something that was promised never to happen, and did.

Pure.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Anomaly:
    """``kind`` is one word for tables; ``text`` says in a sentence what was seen and why it may not be."""

    kind: str
    text: str
    operations: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.kind}: {self.text}"
