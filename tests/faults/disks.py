"""A disk for each node: a file system of its own that can be full, hang, and be lost."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

from tests.faults import thaw

_BYTES = 2 * 2**30
#: Whatever else happens, a disk hangs no longer.
HANG_SECONDS_MAX = 20.0


class Plain:
    """A directory of this machine's disk: it can be lost, and damaged."""

    full, hangs = "a file system of its own (as root: mount)", "a file system of its own (as root: mount)"

    def __init__(self, place: Path) -> None:
        self.place = place
        place.mkdir(parents=True)

    @property
    def data(self) -> Path:
        """The node's data directory; the node makes it."""
        return self.place / "data"

    def fill(self) -> None:
        raise AssertionError(self.full)

    def free(self) -> None:
        """Give back what ``fill`` took."""

    def hang(self, seconds: float) -> subprocess.Popen[bytes]:
        raise AssertionError(self.hangs)

    def lose(self) -> None:
        """All that the node had written; the node does not run."""
        shutil.rmtree(self.data)

    def flip(self, chance: random.Random) -> str:
        """One bit of a file of the database; the node does not run. Returns which one."""
        files = [*self.data.glob("log/*.log"), *self.data.glob("state/data.mdb")]
        file = chance.choice(sorted(file for file in files if file.stat().st_size))
        with file.open("r+b", buffering=0) as opened:
            at = chance.randrange(file.stat().st_size)
            found = os.pread(opened.fileno(), 1, at)[0]
            bit = chance.randrange(8)
            os.pwrite(opened.fileno(), bytes([found ^ 1 << bit]), at)
            os.fsync(opened.fileno())
        return f"bit {bit} of byte {at} of {file.relative_to(self.data)}"


class Memory(Plain):
    """A tmpfs: full at once when it is made as small as what is in it."""

    full, hangs = "", "a tmpfs does not freeze"

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        _run("mount", "-t", "tmpfs", "-o", f"size={_BYTES}", "springtide", str(place))

    def fill(self) -> None:
        for spare in (0, 2**16, 2**20, 2**23):  # who writes meanwhile may need more by then
            found = os.statvfs(self.place)
            used = (found.f_blocks - found.f_bfree) * found.f_frsize
            if _done("mount", "-o", f"remount,size={max(used, 4096) + spare}", str(self.place)):
                return
        raise OSError(f"{self.place} cannot be made smaller")

    def free(self) -> None:
        _run("mount", "-o", f"remount,size={_BYTES}", str(self.place))


class Loop(Plain):
    """An ext4 in a file: filled by a file of nothing, hung by freezing it."""

    full = hangs = ""

    def __init__(self, place: Path) -> None:
        super().__init__(place)
        image = place.with_suffix(".image")
        with image.open("wb") as file:
            file.truncate(_BYTES)
        _run("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", str(image))
        _run("mount", "-o", "loop", str(image), str(place))

    def fill(self) -> None:
        found = os.statvfs(self.place)
        with (self.place / "ballast").open("wb") as file:
            left = found.f_bavail * found.f_frsize
            while left > 4096:
                try:
                    os.posix_fallocate(file.fileno(), file.seek(0, os.SEEK_END), left)
                    file.seek(0, os.SEEK_END)
                except OSError:
                    left //= 2
                else:
                    left = min(left, os.statvfs(self.place).f_bavail * found.f_frsize)

    def free(self) -> None:
        (self.place / "ballast").unlink(missing_ok=True)

    def hang(self, seconds: float) -> subprocess.Popen[bytes]:
        """Every write waits, unkillably, until the returned process has ended: at its end of input, or its time."""
        guard = subprocess.Popen(
            [sys.executable, thaw.__file__, str(self.place), str(min(seconds, HANG_SECONDS_MAX))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            start_new_session=True,
            cwd="/",
        )
        assert guard.stdout is not None
        if guard.stdout.readline() != b"frozen\n":
            raise OSError(f"{self.place} does not freeze")
        return guard


def missing(kind: type[Plain]) -> str:
    """Why there can be no such disk here; empty where there can."""
    if kind is Plain:
        return ""
    if os.geteuid() != 0:
        return "file systems are root's to mount"
    needed = ("mount",) if kind is Memory else ("mount", "mkfs.ext4", "fsfreeze", "losetup")
    lacking = [command for command in needed if shutil.which(command) is None]
    if lacking:
        return f"{', '.join(lacking)} missing"
    if kind is Loop and not Path("/dev/loop-control").exists():
        return "this kernel has no loop devices"
    return ""


def _done(*command: str) -> bool:
    return subprocess.run(command, capture_output=True, timeout=60, check=False).returncode == 0


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise OSError(f"{' '.join(command)}: {done.stderr.strip()}")
