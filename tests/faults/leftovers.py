"""What a run leaves on the machine, and taking it away: however the run ended.

Everything a run makes carries its id: network namespaces ``springtide-ID-...``, and all that is mounted or written is
below ``ROOT/ID``. A run holds a lock on ``ROOT/ID/lock`` as long as it lives. A process of its own, which
shares the lock, waits until the run ends, also by ``kill -9``, and then cleans; should that one be killed as well, the
next run finds a directory whose lock is free, and cleans.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

#: On a real disk, and found again after a restart of the machine.
ROOT = Path(f"/var/tmp/springtide-faults-{os.getuid()}")
NAMESPACES = Path("/run/netns")
_ID = re.compile(r"[0-9a-f]{6}")
_COMMAND_SECONDS = 30.0
_END_SECONDS = 60.0


def namespace(id: str, machine: str) -> str:
    return f"springtide-{id}-{machine}"


class Run:
    """The id and the directory of one run, and the process that cleans after it."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(3)
        self.directory = ROOT / self.id
        with _nobody_reaps():
            self.directory.mkdir(mode=0o700)
            (self.directory / "runner").write_text(str(os.getpid()))
            self._lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._keeper = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve()), self.id],
            stdin=subprocess.PIPE,
            pass_fds=(self._lock,),
            start_new_session=True,
            cwd="/",
        )

    def end(self) -> None:
        """Clean, and wait until that is done."""
        if self._lock < 0:
            return
        assert self._keeper.stdin is not None
        self._keeper.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._keeper.wait(_END_SECONDS)
        os.close(self._lock)
        self._lock = -1


def reap() -> list[str]:
    """Clean after runs that ended and did not; their ids."""
    with _nobody_reaps():
        found = [each.name for each in ROOT.iterdir() if _ID.fullmatch(each.name) and not _lives(each / "lock")]
        for id in found:
            clean(id)
    return found


@contextlib.contextmanager
def _nobody_reaps() -> Iterator[None]:
    """A run that begins has no lock for a moment."""
    ROOT.mkdir(mode=0o700, exist_ok=True)
    fd = os.open(ROOT, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
    finally:
        os.close(fd)


def _lives(lock: Path) -> bool:
    try:
        with lock.open("r+") as held:
            fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def clean(id: str) -> None:
    """Thaw, end, unmount and remove everything that carries this id. Nothing that is missing is an error."""
    assert _ID.fullmatch(id), id
    for mount in mounts(id):
        _quietly("fsfreeze", "--unfreeze", str(mount))  # first: who writes to a frozen one cannot even be killed
    namespaces = sorted(NAMESPACES.glob(namespace(id, "*")))
    _kill(id, [space.name for space in namespaces])
    for mount in reversed(mounts(id)):
        if not _quietly("umount", str(mount)):
            _quietly("umount", "--lazy", str(mount))
    for space in namespaces:
        _quietly("ip", "netns", "delete", space.name)
    if not mounts(id):
        shutil.rmtree(ROOT / id, ignore_errors=True)


def mounts(id: str) -> list[Path]:
    lines = Path("/proc/mounts").read_text().splitlines()
    return sorted(Path(at) for line in lines if Path(at := line.split()[1]).is_relative_to(ROOT / id))


def _kill(id: str, namespaces: list[str]) -> None:
    """All processes in these namespaces, but for the run's own: where that lives, it ends by itself."""
    spared = set()
    with contextlib.suppress(OSError, ValueError):
        spared.add(int((ROOT / id / "runner").read_text()))
    deadline = time.monotonic() + 10.0
    while time.monotonic() < deadline:
        found = {pid for space in namespaces for pid in _pids(space)} - spared
        if not found:
            return
        for pid in found:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.05)


def _pids(space: str) -> set[int]:
    done = subprocess.run(["ip", "netns", "pids", space], capture_output=True, text=True, check=False)
    return {int(pid) for pid in done.stdout.split()}


def _quietly(*command: str) -> bool:
    try:
        return subprocess.run(command, capture_output=True, timeout=_COMMAND_SECONDS, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False


def main() -> None:
    """Wait for the end of standard input, which the kernel closes with the run; then clean."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 4096):
        pass
    clean(sys.argv[1])


if __name__ == "__main__":
    main()
