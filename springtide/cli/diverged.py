"""``springtide diverged``: the tails of logs that a node set aside, because they were never committed.

Read from the node's directory, whether the node runs or not: nobody writes to what is set aside.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
from ZODB.Connection import TransactionMetaData
from ZODB.utils import tid_repr

from springtide.engine.aside import names_aside, read_log
from springtide.engine.blobs import waiting_name
from springtide.errors import BadRequest, Damaged
from springtide.node import config as configuration
from springtide.records.entries import Entry, Kind, Transaction, Write, decode_transaction
from springtide.records.forget import began


@dataclass(frozen=True, slots=True)
class Tail:
    path: Path

    def entries(self) -> Iterator[Entry]:
        return read_log(self.path)

    def transactions(self) -> Iterator[tuple[Entry, Transaction]]:
        return ((entry, decode_transaction(entry.body)) for entry in self.entries() if entry.kind is Kind.TRANSACTION)

    def blob(self, write: Write) -> Path | None:
        """Its file, if it was set aside with the tail."""
        assert write.blob is not None, "who asks has looked"
        path = self.path / "blobs" / waiting_name(write.blob)
        return path if path.exists() else None


def directory_of(config: Path | None, data: Path | None) -> Path:
    if (config is None) == (data is None):
        raise BadRequest("name the node's TOML file with --config, or its directory with --data")
    return data if data is not None else configuration.load(config).data  # type: ignore[arg-type]


def _tails(directory: Path) -> list[Tail]:
    if not (directory / "log").is_dir():
        raise BadRequest(f"{directory} is not the directory of a node: it has no log")
    return [Tail(directory / "diverged" / name) for name in names_aside(directory / "diverged")]


def _tail(directory: Path, name: str) -> Tail:
    found = {tail.path.name: tail for tail in _tails(directory)}
    if name not in found:
        raise BadRequest(
            f"no tail called {name} was set aside in {directory}; "
            + (f"there are {', '.join(found)}" if found else "none was")
        )
    return found[name]


# -- list ----------------------------------------------------------------------------------------


def list_(directory: Path, as_json: bool) -> int:
    tails = [_summary(tail) for tail in _tails(directory)]
    if as_json:
        click.echo(json.dumps(tails))
        return 0
    for tail in tails:
        if tail.get("damaged"):
            click.echo(f"{tail['name']}  cannot be read: {tail['damaged']}")
            continue
        counts = ", ".join(f"{tail[what]:,} {what}" for what in ("entries", "transactions", "objects", "bytes"))
        click.echo(f"{tail['name']}  {counts}; set aside {tail['at']}")
    if not tails:
        click.echo(f"Nothing was set aside in {directory}.")
    return 1 if any(tail.get("damaged") for tail in tails) else 0


def _summary(tail: Tail) -> dict[str, Any]:
    from datetime import UTC, datetime

    at = datetime.fromtimestamp(tail.path.stat().st_mtime, UTC).isoformat(" ", "seconds")
    entries = transactions = size = 0
    oids: set[bytes] = set()
    try:
        for entry in tail.entries():
            entries += 1
            size += len(entry.body)
            if entry.kind is Kind.TRANSACTION:
                transactions += 1
                oids.update(write.oid for write in decode_transaction(entry.body).writes)
    except (Damaged, ValueError) as error:
        return {"name": tail.path.name, "at": at, "damaged": str(error)}
    return {
        "name": tail.path.name,
        "at": at,
        "entries": entries,
        "transactions": transactions,
        "objects": len(oids),
        "bytes": size,
    }


# -- show ----------------------------------------------------------------------------------------


def show(directory: Path, name: str, as_json: bool) -> int:
    """Every transaction of a tail, with what it wrote."""
    for entry, transaction in _tail(directory, name).transactions():
        said = _told(entry, transaction)
        if as_json:
            click.echo(json.dumps(said))
            continue
        click.echo(f"{entry.epoch}/{entry.lsn}  tid {said['tid']}  {said['time']}  id {said['id']}")
        click.echo(f"    user {said['user']!r}, description {said['description']!r}")
        for write in said["writes"]:
            what = "deleted" if write["bytes"] is None else f"{write['bytes']:,} bytes"
            blob = f", blob of {write['blob_bytes']:,} bytes" if "blob_bytes" in write else ""
            click.echo(f"    oid {write['oid']}  {what}{blob}")
    return 0


def _told(entry: Entry, transaction: Transaction) -> dict[str, Any]:
    return {
        "epoch": entry.epoch,
        "lsn": entry.lsn,
        "tid": transaction.tid.hex(),
        "time": tid_repr(transaction.tid).partition(" ")[2],
        "id": transaction.id.hex(),
        "began_after": began(transaction.id).hex(),
        "user": transaction.user.decode("utf-8", "replace"),
        "description": transaction.description.decode("utf-8", "replace"),
        "writes": [
            {"oid": write.oid.hex(), "bytes": None if write.data is None else len(write.data)}
            | ({"blob_bytes": write.blob.size} if write.blob is not None else {})
            for write in transaction.writes
        ],
    }


# -- export --------------------------------------------------------------------------------------


def export(directory: Path, name: str, file: Path) -> int:
    """Write a tail as a FileStorage: with the tids it had, which nothing else in the cluster has."""
    from ZODB.FileStorage import FileStorage

    tail = _tail(directory, name)
    blobs = file.with_name(file.name + ".blobs")
    for path in (file, blobs):
        if path.exists():
            raise BadRequest(f"{path} exists already: name a new file")
    has_blobs = any(write.blob is not None for _, transaction in tail.transactions() for write in transaction.writes)
    count = missing = 0
    with (
        tempfile.TemporaryDirectory(dir=file.parent) as passing,
        closing(FileStorage(str(file), create=True, blob_dir=str(blobs) if has_blobs else None)) as storage,
    ):
        for _, transaction in tail.transactions():
            missing += _export(storage, transaction, tail, Path(passing) / "blob")
            count += 1
    for leftover in (".lock", ".index", ".tmp"):
        file.with_name(file.name + leftover).unlink(missing_ok=True)
    click.echo(f"{count} transactions of {name} are in {file}" + (f", their blobs in {blobs}" if has_blobs else ""))
    if missing:
        click.echo(f"{missing} blobs are left out: their files were not here when the tail was set aside", err=True)
    return 0


def _export(storage: Any, transaction: Transaction, tail: Tail, passing: Path) -> int:
    """One transaction; how many files of blobs it lacks."""
    metadata = TransactionMetaData(transaction.user, transaction.description, transaction.extension)
    missing = 0
    storage.tpc_begin(metadata, transaction.tid, transaction.status.decode("latin-1"))
    for write in transaction.writes:
        source = tail.blob(write) if write.blob is not None else None
        if source is not None:
            shutil.copyfile(source, passing)  # the storage takes the file it is given
            storage.restoreBlob(write.oid, transaction.tid, write.data, str(passing), None, metadata)
            continue
        missing += write.blob is not None
        storage.restore(write.oid, transaction.tid, write.data, "", None, metadata)
    storage.tpc_vote(metadata)
    storage.tpc_finish(metadata)
    return missing
