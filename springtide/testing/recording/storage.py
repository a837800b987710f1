"""A ``ClusterStorage`` that notes what passes through it, for whichever attempt runs in the calling thread.

It changes nothing: every call goes to the storage as it came.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from springtide.client.storage import ClusterStorage
from springtide.records.ids import Oid, Tid, number
from springtide.testing.recording.recorder import Recorder


def digest(data: bytes | None) -> str:
    return "" if data is None else hashlib.blake2b(data, digest_size=8).hexdigest()


@dataclass(slots=True)
class Notes:
    """What one attempt did so far."""

    id: str
    reads: dict[int, int] = field(default_factory=dict)
    loads: list[tuple[int, int, str]] = field(default_factory=list)
    covered: dict[int, int] = field(default_factory=dict)
    writes: dict[int, tuple[int, str]] = field(default_factory=dict)
    resolvable: set[int] = field(default_factory=set)
    work: dict[str, Any] = field(default_factory=dict)
    tid: int | None = None
    told: bool = False


class RecordedStorage(ClusterStorage):
    def __init__(self, nodes: str | Iterable[str], recorder: Recorder, **options: Any) -> None:
        self._recorder = recorder
        self._local = threading.local()
        super().__init__(nodes, **options)

    @property
    def notes(self) -> Notes | None:
        """Those of the attempt that runs in this thread."""
        return getattr(self._local, "notes", None)

    @notes.setter
    def notes(self, notes: Notes | None) -> None:
        self._local.notes = notes

    def tell(self) -> None:
        """Write down what was noted, once, before anything of it can have been committed."""
        notes = self.notes
        if notes is not None and not notes.told:
            notes.told = True
            self._recorder.write(
                "trying",
                id=notes.id,
                reads=list(notes.reads.items()),
                loads=notes.loads,
                covered=list(notes.covered.items()),
                writes=[(oid, *write) for oid, write in notes.writes.items()],
                resolvable=sorted(notes.resolvable),
                work=notes.work,
            )

    # -- what ZODB calls ------------------------------------------------------------------------

    def new_oid(self) -> Oid:
        oid = super().new_oid()
        self._recorder.write("oid", oid=number(oid), client=self._recorder.client)
        return oid

    def loadBefore(self, oid: Oid, tid: Tid) -> Any:
        found = super().loadBefore(oid, tid)
        if found is not None and self.notes is not None:
            self.notes.loads.append((number(oid), number(found[1]), digest(found[0])))
        return found

    def store(self, oid: Oid, serial: Tid | None, data: bytes, version: str, transaction: Any) -> None:
        super().store(oid, serial, data, version, transaction)
        self._note_write(oid, serial, data)

    def storeBlob(
        self, oid: Oid, oldserial: Tid | str | None, data: bytes, blobfilename: str, version: str, transaction: Any
    ) -> None:
        super().storeBlob(oid, oldserial, data, blobfilename, version, transaction)
        assert not isinstance(oldserial, str), "ZODB names revisions by bytes"
        self._note_write(oid, oldserial, data)

    def checkCurrentSerialInTransaction(self, oid: Oid, serial: Tid, transaction: Any) -> None:
        super().checkCurrentSerialInTransaction(oid, serial, transaction)
        if self.notes is not None:
            self.notes.covered[number(oid)] = number(serial)

    def tpc_vote(self, transaction: Any) -> Sequence[Oid]:
        self.tell()
        return super().tpc_vote(transaction)

    def tpc_finish(self, transaction: Any, func: Callable[[Tid], object] | None = None) -> Tid:
        tid = super().tpc_finish(transaction, func)
        if self.notes is not None:
            self.notes.tid = number(tid)
        return tid

    def _note_write(self, oid: Oid, serial: Tid | None, data: bytes) -> None:
        if self.notes is not None:
            self.notes.writes[number(oid)] = (number(serial or bytes(8)), digest(data))
