"""Which oids may be given out next?

Pure. Keeps the half of rule R11 that is about oids: a range is an entry of the log and
is given out when that is committed, so no later primary gives an oid of it again;
and every oid that is stored raises what comes next, whoever chose it.
"""

from __future__ import annotations

from springtide.errors import BadRequest
from springtide.records.entries import OidRange
from springtide.records.ids import OID_LIMIT


class Oids:
    """Invariant: ``next`` is above every oid that was given out or stored, as far as the log is known."""

    def __init__(self) -> None:
        self.next = 1

    def used(self, highest: int) -> None:
        """This oid, and perhaps those below it, are somebody's."""
        self.next = max(self.next, highest + 1)

    def take(self, count: int) -> OidRange:
        """A range that nobody else is given; BadRequest where there are no more."""
        if self.next + count > OID_LIMIT:
            raise BadRequest(
                f"oids up to {self.next:#x} are in use, and there are none above {OID_LIMIT:#x}: whoever chose "
                "such a high one must be asked"
            )
        given = OidRange(self.next, count)
        self.next += count
        return given
