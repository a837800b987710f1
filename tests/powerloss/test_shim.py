"""The shim sees everything that a process does to its files: what the trace says is what is there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.facilities import compiled
from tests.powerloss.disk import Disk
from tests.powerloss.machines import SHIM
from tests.powerloss.trace import read_trace

EVERYTHING = """
import os, shutil, sys, tempfile
import lmdb
os.chdir(sys.argv[1])
os.mkdir("a")
here = os.open("a", os.O_RDONLY)

def sync(path):
    fd = os.open(path, os.O_RDONLY)
    os.fsync(fd)
    os.close(fd)

def write(name, data, how=os.write, flags=0):
    fd = os.open(name, os.O_WRONLY | os.O_CREAT | flags, dir_fd=here)
    how(fd, data)
    os.close(fd)

write("written", b"one")
write("written", b"two", flags=os.O_APPEND)
write("emptied", b"many")
write("emptied", b"x", flags=os.O_TRUNC)
write("pwrite", b"at", lambda fd, data: os.pwrite(fd, data, 1000))
write("writev", b"vector", lambda fd, data: os.writev(fd, [data, b"", data]))
write("pwritev", b"vector", lambda fd, data: os.pwritev(fd, [data, data], 7))
write("cut", b"too much", lambda fd, data: (os.write(fd, data), os.ftruncate(fd, 3)))
write("longer", b"x", lambda fd, data: (os.write(fd, data), os.ftruncate(fd, 5000)))
write("old", b"renamed")
os.rename("old", "new", src_dir_fd=here, dst_dir_fd=here)
write("first", b"linked")
os.link("a/first", "a/second")
write("gone", b"gone")
os.unlink("gone", dir_fd=here)
os.makedirs("a/deep/er")
with open("a/deep/er/file", "w") as file:
    file.write("text" * 10000)
shutil.copy("a/deep/er/file", "a/copied")
os.rename("a/deep", "a/moved")
os.makedirs("a/tree/below")
shutil.rmtree("a/tree")
nameless = tempfile.TemporaryFile(dir="a")
nameless.write(b"nothing")
nameless.flush()
os.mkdir("a/state")
env = lmdb.open("a/state", max_dbs=2, map_size=2**24)
table = env.open_db(b"table")
for number in range(300):
    with env.begin(write=True) as txn:
        txn.put(b"%d" % (number % 40), bytes([number % 256]) * (number * 37 % 9000), db=table)
env.close()
for directory, _, names in os.walk("."):
    for name in names:
        if name != "lock.mdb":
            sync(os.path.join(directory, name))
    sync(directory)
"""


def watch(program: str, directory: Path) -> Path:
    """Run it under the shim; returns the directory that it was given."""
    root = (directory / "root").resolve()
    root.mkdir()
    shim = compiled(SHIM, directory / "shim.so")
    watched = {"LD_PRELOAD": str(shim), "POWERLOSS_ROOT": str(root), "POWERLOSS_TRACE": str(directory / "trace")}
    command = [sys.executable, "-c", program, str(root)]
    subprocess.run(command, env={**os.environ, **watched}, timeout=60, check=True)
    return root


@pytest.fixture(scope="module")
def traced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory in which a process did everything; its trace is beside it."""
    tmp_path = tmp_path_factory.mktemp("traced")
    return watch(EVERYTHING, tmp_path)


def content(directory: Path) -> dict[str, bytes]:
    found = (path for path in directory.rglob("*") if path.is_file() and path.name != "lock.mdb")
    return {str(path.relative_to(directory)): path.read_bytes() for path in found}


def test_what_is_synced_in_the_end_is_there_byte_for_byte(traced: Path, tmp_path: Path) -> None:
    disk = Disk(traced)
    disk.follow(read_trace(traced.parent / "trace"))

    disk.write("a", tmp_path / "left")

    assert content(tmp_path / "left") == content(traced / "a")
    assert len(content(traced / "a")) == 13


def test_without_the_syncs_of_directories_nothing_is_there(traced: Path, tmp_path: Path) -> None:
    disk = Disk(traced)
    disk.follow(step for step in read_trace(traced.parent / "trace") if step.op != "D")

    disk.write("a", tmp_path / "left")

    assert not (tmp_path / "left").exists()


def test_lmdb_syncs_what_it_must(traced: Path) -> None:
    """Its pages are synced before the page that refers to them is written, on the disk at once."""
    state = [step for step in read_trace(traced.parent / "trace") if step.path.endswith("state/data.mdb")]
    heads = [number for number, step in enumerate(state) if step.op == "W" and step.flag]

    assert len(heads) > 300
    assert all(state[number - 1].op == "S" for number in heads)


def test_a_trace_that_ends_within_a_step_ends_before_it(traced: Path, tmp_path: Path) -> None:
    whole = list(read_trace(traced.parent / "trace"))
    (tmp_path / "trace").write_bytes((traced.parent / "trace").read_bytes()[:-1])

    assert list(read_trace(tmp_path / "trace")) == whole[:-1]


SAVE = """
import sys
from pathlib import Path
from springtide.coordinator.statefile import StateFile
file = StateFile(Path(sys.argv[1]) / "a" / "b" / "record")
file.save(b"before")
file.save(b"after")
"""


def test_what_a_coordinator_saved_is_there_also_in_a_directory_that_it_made(tmp_path: Path) -> None:
    root = watch(SAVE, tmp_path)
    disk = Disk(root)
    disk.follow(read_trace(tmp_path / "trace"))

    disk.write("a", tmp_path / "left")

    assert (tmp_path / "left" / "b" / "record").read_bytes() == (root / "a" / "b" / "record").read_bytes()
