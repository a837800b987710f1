"""Blobs: is the file that is read with a revision the one that its transaction wrote?

Pure. An operation notes as its work ``{"kind": "blob", "wrote": [[oid, digest], ...], "read": [[oid, serial, digest],
...]}``, with the digests of whole files.
"""

from __future__ import annotations

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.history import History
from springtide.testing.checkers.log import FinalLog

KIND = "blob"


def check_blobs(history: History, log: FinalLog, final: History | None = None) -> list[Anomaly]:
    """Content belongs to a transaction as records do. ``final`` are operations that read every blob in the end."""
    tids = {logged.token: logged.tid for logged in log.transactions}
    content: dict[tuple[int, int], str] = {}
    for operation in history.of(KIND):
        if operation.id in tids:
            content.update({(oid, tids[operation.id]): digest for oid, digest in operation.work["wrote"]})
    ours = {operation.id for operation in history.operations}
    # Written before the history began: nobody noted what.
    others = {(oid, logged.tid) for logged in log.transactions if logged.token not in ours for oid in logged.writes}
    found: list[Anomaly] = []
    for operation in (*history.of(KIND), *(final.of(KIND) if final is not None else ())):
        for oid, serial, digest in operation.work["read"]:
            wrote = content.get((oid, serial))
            if wrote is None and (oid, serial) not in others:
                text = f"{operation.id} read a blob of object {oid} as of {serial:016x}, which nobody wrote"
                found.append(Anomaly("aborted blob", text, (operation.id,)))
            elif wrote is not None and wrote != digest:
                text = f"{operation.id} read another file of object {oid} than {serial:016x} wrote"
                found.append(Anomaly("another blob", text, (operation.id,)))
    return found
