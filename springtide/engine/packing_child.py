"""The process in which a pack finds out what goes, beside its node: niced, and with memory of its own.

It speaks in frames with its parent (``node.marker``) on standard input and output, and ends with it.
"""

from __future__ import annotations

import os
import queue
import struct
import sys
import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import lmdb

from springtide import errors
from springtide.engine.classes import class_of
from springtide.engine.marking import Marking
from springtide.engine.nextdoor import NextDoor
from springtide.engine.references import references_of
from springtide.records.bitmap import Bitmap
from springtide.records.ids import Oid, Tid, oid
from springtide.records.packs import PackBegin, PackStep, decode_pack, encode_pack

HEAD = struct.Struct(">cI")
#: From the parent: what to pack, what to spare, go on to the steps, what records refer to.
BEGIN, SPARE, GO, REFERRED = b"b", b"s", b"g", b"r"
#: From the child: how far it is, what nothing refers to, a step, the end, why not, which records it cannot read.
PROGRESS, DOOMED, STEP, END, REFUSED, ASK = b"P", b"D", b"S", b"E", b"R", b"A"

#: Revisions in a step, at most: the primary cuts it into what it finds bearable.
REVISIONS_MAX = 3_000
_TICKS_BETWEEN_PROGRESS = 5_000
_RECORD = struct.Struct(">8sI")
_COUNT = struct.Struct(">I")


def encode_records(records: Sequence[tuple[Oid, bytes]]) -> bytes:
    return b"".join(_RECORD.pack(name, len(data)) + data for name, data in records)


def decode_records(data: bytes) -> list[tuple[Oid, bytes]]:
    found, at = [], 0
    while at < len(data):
        name, length = _RECORD.unpack_from(data, at)
        at += _RECORD.size
        found.append((Oid(name), data[at : at + length]))
        at += length
    return found


def encode_references(found: Iterable[Sequence[Oid]]) -> bytes:
    return b"".join(_COUNT.pack(len(oids)) + b"".join(oids) for oids in found)


def decode_references(data: bytes) -> list[list[Oid]]:
    found, at = [], 0
    while at < len(data):
        (count,) = _COUNT.unpack_from(data, at)
        at += _COUNT.size
        found.append([Oid(data[i : i + 8]) for i in range(at, at + 8 * count, 8)])
        at += 8 * count
    return found


def steps(removals: Iterable[tuple[Tid, tuple[Oid, ...]]], most: int = REVISIONS_MAX) -> Iterator[PackStep]:
    """The same in steps of at most ``most`` revisions and as many transactions."""
    runs: list[tuple[Tid, tuple[Oid, ...]]] = []
    size, went_on = 0, False
    for run in removals:
        runs.append(run)
        size += len(run[1])
        while size >= most or len(runs) >= most:
            step, rest = PackStep(tuple(runs), went_on).cut(most)
            yield step
            runs, size, went_on = ([], 0, False) if rest is None else ([*rest.removed], rest.revisions, rest.went_on)
    if runs:
        yield PackStep(tuple(runs), went_on)


class Child:
    def __init__(self, state: Path, map_bytes: int) -> None:
        self._heard: queue.SimpleQueue[tuple[bytes, bytes]] = queue.SimpleQueue()
        threading.Thread(target=self._listen, name="springtide-parent", daemon=True).start()
        _, body = self._heard.get()
        pack = decode_pack(body)
        assert isinstance(pack, PackBegin), "the parent says first what to pack"
        self._rows = NextDoor(state, map_bytes)
        self._marking = Marking(self._rows, pack, references_of, self._ask, self._tick, class_of)
        self._ticks = 0

    def run(self) -> None:
        try:
            self._marking.mark()
            while True:
                self._say(DOOMED, self._marking.doomed().encode())
                kind, body = self._hear()
                if kind != SPARE:
                    break
                self._marking.spare(oid(n) for n in Bitmap.decode(body))
            for step in steps(self._marking.removals()):
                self._say(STEP, encode_pack(step))
            self._say(END)
        except (errors.SpringtideError, lmdb.Error) as error:
            self._say(REFUSED, str(error).encode())

    def _listen(self) -> None:
        source = sys.stdin.buffer
        while head := source.read(HEAD.size):
            kind, length = HEAD.unpack(head)
            self._heard.put((kind, source.read(length)))
        os._exit(1)  # the parent is gone

    def _hear(self) -> tuple[bytes, bytes]:
        self._rows.release()
        return self._heard.get()

    def _say(self, kind: bytes, body: bytes = b"") -> None:
        self._rows.release()
        sys.stdout.buffer.write(HEAD.pack(kind, len(body)) + body)
        sys.stdout.buffer.flush()

    def _ask(self, records: Sequence[tuple[Oid, bytes]]) -> list[list[Oid]]:
        self._say(ASK, encode_records(records))
        _, body = self._hear()
        return decode_references(body)

    def _tick(self) -> None:
        self._ticks += 1
        if self._ticks % _TICKS_BETWEEN_PROGRESS == 0:
            self._say(PROGRESS, struct.pack(">Q", self._ticks))


def main() -> None:
    os.nice(10)
    Child(Path(sys.argv[1]), int(sys.argv[2])).run()
    os._exit(0)  # the thread that listens waits within the standard library, which would complain


if __name__ == "__main__":
    main()
