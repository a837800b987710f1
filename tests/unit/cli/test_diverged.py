"""What was set aside is listed, shown, and written as a FileStorage."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest
from ZODB.FileStorage import FileStorage

from springtide.cli.main import run
from springtide.records import entries
from springtide.records.blobs import names_in
from springtide.records.entries import Blob, Kind, Transaction, Write
from springtide.records.ids import oid, tid
from tests.unit.engine.disk import commit, id_of, log, opened

ONE = log({1: b"a1"})
BLOB = Blob(b"i" * 16, 4, hashlib.blake2b(b"file", digest_size=16).digest())
WITH_FILE = Write(oid(3), b"c3", blob=BLOB)
TAIL = [
    Transaction(tid(2), id_of(2), "jürg".encode(), b"two objects", b"", (Write(oid(1), b"a2"), Write(oid(2), b"b2"))),
    Transaction(tid(3), id_of(3), b"", b"gone, and a file", b"", (Write(oid(1), None), WITH_FILE)),
]


@pytest.fixture
def directory(tmp_path):
    """A node's directory in which a tail was set aside, with the file that it names."""

    async def story():
        async with opened(tmp_path / "node") as engine:
            await commit(engine, ONE)
            made = list(ONE)
            for transaction in TAIL:
                body = entries.encode_transaction(transaction)
                made.append(entries.following(made[-1].point, 1, Kind.TRANSACTION, body))
            for named in names_in(made[-1]):
                async with engine.blobs.receive(named.blob) as intake:
                    await intake.write(b"file")
                    await intake.finish()
            await engine.append(made[1:])
            await engine.cut(ONE[0].point)

    asyncio.run(story())
    return tmp_path / "node"


def test_a_tail_is_listed(directory, capsys):
    assert run(["diverged", "list", "--data", str(directory)]) == 0
    assert "1-2..1-3  2 entries, 2 transactions, 3 objects" in capsys.readouterr().out


def test_a_node_that_set_nothing_aside_says_so(tmp_path, capsys):
    (tmp_path / "log").mkdir()

    assert run(["diverged", "list", "--data", str(tmp_path)]) == 0
    assert "Nothing was set aside" in capsys.readouterr().out


def test_the_transactions_of_a_tail_are_shown(directory, capsys):
    assert run(["diverged", "show", "1-2..1-3", "--data", str(directory), "--json"]) == 0

    shown = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [(one["lsn"], one["tid"], one["user"], one["description"]) for one in shown] == [
        (2, tid(2).hex(), "jürg", "two objects"),
        (3, tid(3).hex(), "", "gone, and a file"),
    ]
    assert shown[1]["writes"] == [
        {"oid": oid(1).hex(), "bytes": None},
        {"oid": oid(3).hex(), "bytes": 2, "blob_bytes": 4},
    ]
    assert run(["diverged", "show", "1-2..1-3", "--data", str(directory)]) == 0
    assert f"oid {oid(3).hex()}  2 bytes, blob of 4 bytes" in capsys.readouterr().out


def test_a_tail_is_exported_as_a_file_storage_with_its_blobs(directory, tmp_path, capsys):
    file = tmp_path / "lost.fs"

    assert run(["diverged", "export", "1-2..1-3", str(file), "--data", str(directory)]) == 0

    storage = FileStorage(str(file), read_only=True, blob_dir=f"{file}.blobs")
    found = [(t.tid, t.user, [(r.oid, r.data) for r in t]) for t in storage.iterator()]
    assert found == [
        (tid(2), "jürg".encode(), [(oid(1), b"a2"), (oid(2), b"b2")]),
        (tid(3), b"", [(oid(1), None), (oid(3), b"c3")]),
    ]
    with open(storage.loadBlob(oid(3), tid(3)), "rb") as blob:
        assert blob.read() == b"file"
    storage.close()
    assert run(["diverged", "export", "1-2..1-3", str(file), "--data", str(directory)]) == 1
    assert "exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["show", "9-9..9-9"], "no tail called 9-9..9-9 was set aside in"),
        (["show", ".."], "no tail called .. was set aside"),
        (["list", "--config", "x.toml"], "name the node's TOML file with --config, or its directory with --data"),
    ],
)
def test_what_is_not_there_is_said(directory, capsys, arguments, error):
    assert run(["diverged", *arguments, "--data", str(directory)]) == 1
    assert error in capsys.readouterr().err


def test_a_directory_that_is_no_nodes_is_refused(tmp_path, capsys):
    assert run(["diverged", "list", "--data", str(tmp_path)]) == 1
    assert "is not the directory of a node" in capsys.readouterr().err


def test_a_damaged_tail_is_listed_as_such(directory, capsys):
    (segment,) = [p for p in (directory / "diverged" / "1-2..1-3").iterdir() if p.is_file()]
    spoilt = bytearray(segment.read_bytes())
    spoilt[len(spoilt) // 2] ^= 1
    segment.write_bytes(spoilt)

    assert run(["diverged", "list", "--data", str(directory)]) == 1
    assert "1-2..1-3  cannot be read:" in capsys.readouterr().out
