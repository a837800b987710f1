"""A disk that forgets what was not synced: built from a trace, left as a loss of power leaves it.

What a disk may do is taken at its worst, as POSIX allows it. A file's content is there if the file was synced after;
of what was written since, any sectors may be there, in any order. A name is there, or gone, if its **directory** was
synced after; of the changes since, any first few may be there: file systems write those in order. A file without a name
is lost with all it holds.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from random import Random

from tests.powerloss.trace import Step

SECTOR_BYTES = 512
#: LMDB's table of readers: a shared map, and nothing in it outlives the processes.
_TABLE_OF_READERS = "lock.mdb"

#: What the kernel says of an open file that has no name, or no longer one. What is written there is lost in any case;
#: its inode may be the one that a file that was removed had before.
_NAMELESS = " (deleted)"


class Unseen(Exception):
    """A file was changed in a way that the trace cannot show, so that nothing can be said of this disk."""


@dataclass(eq=False)
class File:
    """``synced`` is on the disk; ``since`` are the offset and bytes of writes, or the size of cuts, that may not be."""

    synced: bytearray = field(default_factory=bytearray)
    since: list[tuple[int, bytes | None]] = field(default_factory=list)


@dataclass(eq=False)
class Directory:
    """``names`` is what processes see, ``synced`` what is on the disk, ``since`` the changes that may not be."""

    names: dict[str, Node] = field(default_factory=dict)
    synced: dict[str, Node] = field(default_factory=dict)
    since: list[Change] = field(default_factory=list)


Node = File | Directory


@dataclass(eq=False)
class Change:
    """Of names in one directory or in two. It is done as a whole, once."""

    where: Directory
    name: str
    node: Node | None  # None: the name is gone
    other: Directory | None = None  # a rename also takes a name away here
    other_name: str = ""
    done: bool = False

    def do(self) -> None:
        if self.done:
            return
        self.done = True
        _put(self.where.synced, self.name, self.node)
        if self.other is not None:
            self.other.synced.pop(self.other_name, None)


class Disk:
    """What is below ``root``, of one machine. ``ignores`` names files whose syncs are taken as never made: a bug."""

    def __init__(self, root: Path, ignores: Callable[[str], bool] = lambda path: False) -> None:
        self._root = PurePosixPath(root)
        self._ignores = ignores
        self._tree = Directory()
        self._inodes: dict[int, File] = {}

    # -- what was there, and what happened ---------------------------------------------------------

    def load(self, path: Path) -> None:
        """What is there below ``path``, if anything, is on the disk already."""
        if path.exists():
            parent = self._made(str(path.parent))
            parent.names[path.name] = parent.synced[path.name] = self._loaded(path)

    def follow(self, steps: Iterable[Step]) -> None:
        """Raises ``Unseen``."""
        for step in steps:
            self._follow(step)

    def _loaded(self, path: Path) -> Node:
        if not path.is_dir():
            # A second name of a file that was met before is of the same file.
            return self._inodes.setdefault(path.stat().st_ino, File(bytearray(path.read_bytes())))
        directory = Directory({below.name: self._loaded(below) for below in path.iterdir()})
        directory.synced = dict(directory.names)
        return directory

    def _follow(self, step: Step) -> None:
        if step.path.endswith(_NAMELESS):
            return
        match step.op:
            case "O":
                self._open(step)
            case "W":
                self._write(step)
            case "T":
                self._file(step).since.append((step.number, None))
            case "S":
                self._sync(step)
            case "D":
                self._sync_directory(step)
            case "R":
                self._rename(step)
            case "L":
                directory, name = self._place(step.second)
                source, linked = self._place(step.path)
                self._change(Change(directory, name, source.names[linked]))
            case "U":
                directory, name = self._place(step.path)
                self._change(Change(directory, name, None))
            case "M":
                directory, name = self._place(step.path)
                self._change(Change(directory, name, Directory()))
            case "X":
                if PurePosixPath(step.path).name != _TABLE_OF_READERS:
                    raise Unseen(f"{step.path} is mapped to be written, or was allocated")
            case other:
                raise ValueError(f"no step is called {other!r}")

    def _open(self, step: Step) -> None:
        directory, name = self._place(step.path)
        found = directory.names.get(name)
        if found is None:
            found = File()
            self._change(Change(directory, name, found))
        if isinstance(found, File):
            self._inodes[step.inode] = found
            if step.flag:
                found.since.append((0, None))

    def _write(self, step: Step) -> None:
        file = self._file(step)
        if step.flag and not self._ignores(step.path):
            _write(file.synced, step.number, step.data)
        file.since.append((step.number, step.data))

    def _sync(self, step: Step) -> None:
        if not self._ignores(step.path):
            file = self._file(step)
            _apply(file.synced, file.since)
            file.since.clear()

    def _sync_directory(self, step: Step) -> None:
        if not self._ignores(step.path):
            directory = self._directory(step.path)
            for change in directory.since:
                change.do()
            directory.since.clear()

    def _rename(self, step: Step) -> None:
        source, old = self._place(step.path)
        target, new = self._place(step.second)
        node = source.names[old]
        if target.names.get(new) is node:
            return  # two names of one file: POSIX leaves both
        self._change(Change(target, new, node, source, old))

    def _change(self, change: Change) -> None:
        _put(change.where.names, change.name, change.node)
        change.where.since.append(change)
        if change.other is not None:
            change.other.names.pop(change.other_name, None)
            if change.other is not change.where:
                change.other.since.append(change)

    # -- finding ------------------------------------------------------------------------------------

    def _file(self, step: Step) -> File:
        found = self._inodes.get(step.inode)
        if found is None:
            raise Unseen(f"{step.path} was changed, and nobody saw it opened")
        return found

    def _place(self, path: str) -> tuple[Directory, str]:
        return self._directory(str(PurePosixPath(path).parent)), PurePosixPath(path).name

    def _directory(self, path: str) -> Directory:
        found = self._tree
        for name in PurePosixPath(path).relative_to(self._root).parts:
            below = found.names[name]
            assert isinstance(below, Directory), f"{path} is a directory"
            found = below
        return found

    def _made(self, path: str) -> Directory:
        """The directory, which is on the disk already."""
        found = self._tree
        for name in PurePosixPath(path).relative_to(self._root).parts:
            below = found.synced.setdefault(name, found.names.setdefault(name, Directory()))
            assert isinstance(below, Directory), f"{path} is a directory"
            found = below
        return found

    # -- the power is lost -----------------------------------------------------------------------------

    def write(self, name: str, target: Path, chance: Random | None = None) -> None:
        """Put what is left of ``name``, below the root, where ``target`` says; nothing, where its name is lost.

        Without ``chance`` nothing is left that was not synced.
        """
        left = _left(self._tree, chance).get(name)
        if left is not None:
            _Writer(chance).write(left, target)


def _left(directory: Directory, chance: Random | None) -> dict[str, Node]:
    if chance is None:
        return directory.synced
    kept = chance.randint(0, len(directory.since))
    for change in directory.since[:kept]:
        change.do()
    del directory.since[:kept]
    return directory.synced


class _Writer:
    def __init__(self, chance: Random | None) -> None:
        self._chance = chance
        self._written: dict[int, Path] = {}

    def write(self, node: Node, target: Path) -> None:
        if isinstance(node, Directory):
            target.mkdir()
            for name, below in sorted(_left(node, self._chance).items()):
                self.write(below, target / name)
        elif id(node) in self._written:
            target.hardlink_to(self._written[id(node)])
        else:
            target.write_bytes(_content(node, self._chance))
            self._written[id(node)] = target


def _content(file: File, chance: Random | None) -> bytes:
    if chance is None or not file.since:
        return bytes(file.synced)
    left = bytearray(file.synced)
    whole = chance.randint(0, len(file.since))  # so many at least are there; then it is torn
    _apply(left, file.since[:whole])
    likely = chance.random()
    for at, data in file.since[whole:]:
        if data is None:
            if chance.random() < likely:
                _apply(left, [(at, None)])
            continue
        for begin, end in _sectors(at, len(data)):
            if chance.random() < likely:
                _write(left, at + begin, data[begin:end])
    return bytes(left)


def _sectors(at: int, size: int) -> Iterable[tuple[int, int]]:
    """The parts of a write that are in one sector each, as places in its bytes."""
    begin = 0
    while begin < size:
        end = min(size, begin + SECTOR_BYTES - (at + begin) % SECTOR_BYTES)
        yield begin, end
        begin = end


def _apply(content: bytearray, changes: Iterable[tuple[int, bytes | None]]) -> None:
    for at, data in changes:
        if data is not None:
            _write(content, at, data)
        elif at < len(content):
            del content[at:]
        else:
            content.extend(bytes(at - len(content)))


def _write(content: bytearray, at: int, data: bytes) -> None:
    if len(content) < at:
        content.extend(bytes(at - len(content)))
    content[at : at + len(data)] = data


def _put(names: dict[str, Node], name: str, node: Node | None) -> None:
    if node is None:
        names.pop(name, None)
    else:
        names[name] = node


def remove(path: Path) -> None:
    """What was there before."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
