"""What a pack says in the log: it begins, takes revisions away in bounded steps, and ends.

Pure. A primary computes what goes, and the entries name it, so that every node takes
away the same. From ``PackBegin`` on, what lies at or below its tid is no history any more:
nothing of it can be undone, and a revision of it that is missing was packed away.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from springtide.records.entries import Malformed
from springtide.records.ids import OID_LIMIT, TID_MAX, TID_ZERO, Oid, Tid, number


@dataclass(frozen=True, slots=True)
class PackBegin:
    """Of the revisions at or below ``tid`` goes what is not needed to read later snapshots.

    ``gc``: also objects that nothing refers to. ``keep_revisions``: so many revisions of each object
    stay at least, counted from its newest one. ``keep_classes``: what is needed to read objects of these classes as
    they were at an earlier tid.
    """

    tid: Tid
    gc: bool
    keep_revisions: int = 1
    keep_classes: tuple[tuple[str, Tid], ...] = ()


@dataclass(frozen=True, slots=True)
class PackStep:
    """Of each transaction, the objects that lose the revision which it made; none for one that made none.

    Tids grow within a step and from step to step: of an object the oldest revision goes first, so
    nobody meets an older revision where a newer one was. A large transaction loses its revisions in several
    steps, and what is stored of it as a whole is written anew in the last of them only.
    """

    removed: tuple[tuple[Tid, tuple[Oid, ...]], ...]
    #: The first of these transactions was the last one of the step before; the last one is the first of the next step.
    went_on: bool = False
    goes_on: bool = False

    @property
    def revisions(self) -> int:
        return sum(len(oids) for _, oids in self.removed)

    def cut(self, most: int) -> tuple[PackStep, PackStep | None]:
        """A step of at most ``most`` revisions and as many transactions, and the one that is left."""
        size = 0
        for at, (tid, oids) in enumerate(self.removed):
            room = most - size
            if at == most or (at and not room and oids):
                rest = PackStep(self.removed[at:], False, self.goes_on)
                return PackStep(self.removed[:at], self.went_on, False), rest
            if len(oids) > room:
                first = (*self.removed[:at], (tid, oids[:room]))
                rest = PackStep(((tid, oids[room:]), *self.removed[at + 1 :]), True, self.goes_on)
                return PackStep(first, self.went_on, True), rest
            size += len(oids)
        return self, None


@dataclass(frozen=True, slots=True)
class PackEnd:
    """Everything that goes has gone, or the rest stays."""


Pack = PackBegin | PackStep | PackEnd

_BEGIN = struct.Struct(">c8s?I")
_CLASS = struct.Struct(">8sH")
_STEP = struct.Struct(">c??")
_RUN = struct.Struct(">8sI")
_BEGINS, _STEPS, _ENDS = b"B", b"S", b"E"


def encode_pack(pack: Pack) -> bytes:
    match pack:
        case PackBegin(tid, gc, keep_revisions, keep_classes):
            named = [(since, name.encode()) for name, since in keep_classes]
            classes = b"".join(_CLASS.pack(since, len(name)) + name for since, name in named)
            return _BEGIN.pack(_BEGINS, tid, gc, keep_revisions) + classes
        case PackStep(removed, went_on, goes_on):
            head = _STEP.pack(_STEPS, went_on, goes_on)
            return head + b"".join(_RUN.pack(tid, len(oids)) + b"".join(oids) for tid, oids in removed)
        case PackEnd():
            return _ENDS


def decode_pack(body: bytes) -> Pack:
    """What the entry says; ``Malformed`` if it does not follow the format or could not be applied."""
    if body == _ENDS:
        return PackEnd()
    if body[:1] == _STEPS and len(body) >= _STEP.size:
        _, went_on, goes_on = _STEP.unpack_from(body)
        return PackStep(tuple(_runs(body)), went_on, goes_on)
    if body[:1] != _BEGINS or len(body) < _BEGIN.size:
        raise Malformed(f"pack entry of {len(body)} bytes is none")
    _, tid, gc, keep_revisions = _BEGIN.unpack_from(body)
    if not TID_ZERO < tid < TID_MAX or keep_revisions == 0:
        raise Malformed(f"pack entry with tid {tid.hex()} that keeps {keep_revisions} revisions")
    return PackBegin(Tid(tid), gc, keep_revisions, tuple(_classes(body)))


def _classes(body: bytes) -> Iterator[tuple[str, Tid]]:
    at = _BEGIN.size
    while at < len(body):
        try:
            since, length = _CLASS.unpack_from(body, at)
            at += _CLASS.size
            name = body[at : at + length].decode()
        except (struct.error, UnicodeDecodeError):
            raise Malformed("pack entry ends within the name of a class") from None
        if len(body) < at + length:
            raise Malformed("pack entry ends within the name of a class")
        at += length
        yield name, Tid(since)


def _runs(body: bytes) -> Iterator[tuple[Tid, tuple[Oid, ...]]]:
    at, former = _STEP.size, TID_ZERO
    while at < len(body):
        if len(body) - at < _RUN.size:
            raise Malformed("pack entry ends within a transaction's tid")
        tid, count = _RUN.unpack_from(body, at)
        at += _RUN.size
        end = at + 8 * count
        if end > len(body) or not former < tid < TID_MAX:
            raise Malformed(f"pack entry takes {count} revisions of {tid.hex()} after those of {former.hex()}")
        oids = tuple([Oid(body[i : i + 8]) for i in range(at, end, 8)])
        if any(number(oid) >= OID_LIMIT for oid in oids):
            raise Malformed("pack entry names an oid that cannot be")
        yield Tid(tid), oids
        at, former = end, Tid(tid)
