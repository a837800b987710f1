"""A run that is killed halfway leaves nothing: no namespaces, mounts, frozen disks or processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tests.facilities import need
from tests.faults import disks, leftovers, network
from tests.faults.disks import Loop

#: Makes what a run makes, freezes a disk that a process of the run then writes to, and says so.
_HALFWAY = """
import subprocess, sys, time
from tests.faults.disks import Loop
from tests.faults.leftovers import Run
from tests.faults.network import Namespaces
run = Run()
machines = Namespaces(run.id, ("a", "b"))
machines.enter()
disk = Loop(run.directory / "disk-a")
disk.hang(20.0)
subprocess.Popen([*machines.prefix("a"), "dd", "if=/dev/zero", f"of={disk.place}/file", "bs=4k", "count=1"])
print(run.id, run._keeper.pid, flush=True)
time.sleep(600)
"""


def until(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.05)


def is_there(id: str) -> bool:
    return bool(
        list(leftovers.NAMESPACES.glob(leftovers.namespace(id, "*")))
        or leftovers.mounts(id)
        or (leftovers.ROOT / id).exists()
    )


@pytest.mark.parametrize(
    "keeper", [True, False], ids=["its keeper cleans", "its keeper dies too, and the next run cleans"]
)
def test_a_run_that_is_killed_halfway_leaves_nothing(keeper: bool) -> None:
    missing = network.missing() or disks.missing(Loop)
    need(not missing, missing)
    runner = subprocess.Popen([sys.executable, "-c", _HALFWAY], stdout=subprocess.PIPE, text=True)
    assert runner.stdout is not None
    id, keeping = runner.stdout.readline().split()
    try:
        assert is_there(id)
        assert id not in leftovers.reap(), "it lives"
        if not keeper:
            os.kill(int(keeping), signal.SIGKILL)
    finally:
        runner.kill()
        runner.wait()
    if not keeper:
        until(lambda: id in leftovers.reap())
    until(lambda: not is_there(id))
