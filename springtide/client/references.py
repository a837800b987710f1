"""What records refer to, for nodes that cannot read them: where a wrapper transforms records, only it knows."""

from __future__ import annotations

from collections.abc import Callable

from ZODB.serialize import referencesf


def hidden_references(data: bytes | None, untransform: Callable[[bytes], bytes]) -> bytes | None:
    """The oids that a transformed record refers to, one after the other.

    None where the record is as ZODB made it, which nodes read by themselves, or where this is no record of
    ZODB's: then nobody knows, and a pack that must know says so.
    """
    if not data:
        return None
    try:
        plain = untransform(data)
        return None if plain == data else b"".join(referencesf(plain))
    except Exception:  # whatever else a record is made of is its wrapper's business
        return None
