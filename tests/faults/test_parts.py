"""What a run of faults is made of: its schedule, its summary, its failpoints, its disks and clocks."""

from __future__ import annotations

import importlib
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from springtide.testing.cluster import LocalCluster
from tests.facilities import need
from tests.faults import disks, failpoints
from tests.faults.__main__ import ALONE, FAULTS
from tests.faults.clocks import Clock
from tests.faults.disks import Loop, Memory, Plain
from tests.faults.others import share, used
from tests.faults.schedule import Schedule
from tests.faults.summary import Summary

# -- the schedule ---------------------------------------------------------------------------------


def test_a_seed_is_a_schedule() -> None:
    one, other = (Schedule(Random(7), list(FAULTS), ALONE) for _ in range(2))
    assert [one.next() for _ in range(100)] == [other.next() for _ in range(100)]


def test_every_kind_comes_about_as_often_as_any_other() -> None:
    schedule = Schedule(Random(3), list(FAULTS), ALONE)
    counted: Counter[str] = Counter()
    while counted.total() < 20 * len(FAULTS):
        counted.update(kind for _, kind in schedule.next().faults)
    assert set(counted) == set(FAULTS)
    assert max(counted.values()) - min(counted.values()) <= 2


def test_what_destroys_a_disk_comes_alone_and_other_faults_overlap() -> None:
    schedule = Schedule(Random(5), list(FAULTS), ALONE)
    rounds = [[kind for _, kind in schedule.next().faults] for _ in range(200)]
    assert all(len(kinds) == 1 for kinds in rounds if set(kinds) & set(ALONE))
    assert sum(len(kinds) > 1 for kinds in rounds) > 50
    assert all(len(set(kinds)) == len(kinds) for kinds in rounds)


# -- the summary ----------------------------------------------------------------------------------


def good() -> Summary:
    summary = Summary(seed=1, nodes=3, commits=10, heals=[0.5, 9.9])
    summary.tried["kill"] += 2
    return summary


def test_a_run_is_good_where_nothing_was_found() -> None:
    assert good().good


@pytest.mark.parametrize(
    "spoilt",
    [{"anomalies": ["lost commit: x"]}, {"failure": "no"}, {"late": 1}, {"commits": 0}],
    ids=lambda spoilt: next(iter(spoilt)),
)
def test_a_run_is_bad_for_each_of_these(spoilt: dict[str, object]) -> None:
    summary = good()
    for name, value in spoilt.items():
        setattr(summary, name, value)
    assert not summary.good


@pytest.mark.parametrize(
    ("serving", "in_sync", "copies", "others", "late"),
    [
        (1.0, 9.9, False, 0.0, (0, 0)),
        (1.0, 10.1, False, 0.1, (1, 0)),
        (10.1, 0.0, False, 0.1, (1, 0)),
        (1.0, 60.0, True, 0.1, (0, 0)),
        (10.1, 60.0, True, 0.1, (1, 0)),
        (1.0, 10.1, False, 0.3, (0, 1)),
    ],
    ids=["in time", "in sync late", "serving late", "a long copy", "serving late in a copy", "others were at work"],
)
def test_what_is_late(serving: float, in_sync: float, copies: bool, others: float, late: tuple[int, int]) -> None:
    summary = good()
    summary.healed(serving, in_sync, copies, others, 0.2)
    assert (summary.late, summary.late_beside_others) == late


def test_what_others_use_of_the_machine_is_not_what_the_run_uses() -> None:
    work = "import time\nt = time.monotonic() + 1\nwhile time.monotonic() < t: pass"
    before = [used(own) for own in ([], [os.getpid()])]
    subprocess.run([sys.executable, "-c", work], check=True)
    after = [used(own) for own in ([], [os.getpid()])]
    everything, others = map(share, before, after)
    assert others < everything - 0.01


def test_what_was_never_tried_is_said_with_its_reason() -> None:
    summary = good()
    summary.missed("kill", "nobody leads")
    summary.missed("freeze", "no loop devices")
    said = "\n".join(summary.lines())
    assert "not tried: freeze: no loop devices (1 times)" in said
    assert "not tried: kill" not in said, "it was tried, another time"


# -- failpoints -----------------------------------------------------------------------------------


@pytest.mark.parametrize("point", failpoints.POINTS.values(), ids=failpoints.POINTS)
def test_every_point_is_a_method_that_is_there(point: failpoints.Point) -> None:
    module, _, path = point.method.partition(":")
    found: object = importlib.import_module(module)
    for name in path.split("."):
        found = getattr(found, name)
    assert callable(found)


def test_the_product_has_no_such_points_so_nothing_can_switch_them_on() -> None:
    package = Path(importlib.import_module("springtide").__path__[0])
    assert [file for file in package.rglob("*.py") if "failpoint" in file.read_text("utf-8").lower()] == []


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("later", [False, True], ids=["function", "coroutine"])
def test_who_passes_an_armed_point_is_killed_there_once(after: bool, later: bool, tmp_path: Path) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from tests.faults.failpoints import _around
def function(): print("in it", flush=True)
async def coroutine(): print("in it", flush=True)
passes = _around({"coroutine" if later else "function"}, Path({str(tmp_path / "armed")!r}), {after})
asyncio.run(passes()) if {later} else passes()
"""
    armed = tmp_path / "armed"
    armed.touch()
    done = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60) for _ in range(2)]
    assert [each.returncode for each in done] == [-signal.SIGKILL, 0]
    assert [each.stdout for each in done] == ["in it\n" if after else "", "in it\n"]
    assert not armed.exists()


# -- disks and clocks -----------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Memory, Loop])
def test_a_full_disk_takes_nothing_and_is_freed_again(kind: type[Plain], tmp_path: Path) -> None:
    need(not disks.missing(kind), disks.missing(kind))
    disk = kind(tmp_path / "disk")
    try:
        disk.fill()
        with pytest.raises(OSError, match="No space left"):
            (disk.place / "file").write_bytes(bytes(10 * 2**20))
        disk.free()
        (disk.place / "file").write_bytes(bytes(10 * 2**20))
    finally:
        subprocess.run(["umount", str(disk.place)], check=True, timeout=60)


def test_a_hung_disk_goes_on_when_its_time_is_over_though_nobody_says_so(tmp_path: Path) -> None:
    need(not disks.missing(Loop), disks.missing(Loop))
    disk = Loop(tmp_path / "disk")
    try:
        guard = disk.hang(1.0)
        writing = subprocess.Popen(["touch", str(disk.place / "file")])
        with pytest.raises(subprocess.TimeoutExpired):
            writing.wait(0.3)
        assert writing.wait(60) == 0
        assert guard.wait(60) == 0
    finally:
        subprocess.run(["umount", str(disk.place)], check=True, timeout=60)


def test_damage_is_one_bit_of_a_file_of_the_database_and_said(tmp_path: Path) -> None:
    with LocalCluster(1, directory=tmp_path / "cluster") as cluster:
        storage = cluster.storage()
        storage.close()
        cluster.kill("a")
        disk = Plain(tmp_path / "disk")
        cluster.data("a").rename(disk.data)
        before = {file: file.read_bytes() for file in disk.data.rglob("*") if file.is_file()}
        said = disk.flip(Random(4))
        after = {file: file.read_bytes() for file in disk.data.rglob("*") if file.is_file()}
        (changed,) = [file for file in before if before[file] != after[file]]
        bits = sum((x ^ y).bit_count() for x, y in zip(before[changed], after[changed], strict=True))
        assert (bits, str(changed.relative_to(disk.data)) in said) == (1, True)


def test_a_clock_jumps_and_what_counts_seconds_does_not(tmp_path: Path) -> None:
    clock = Clock(tmp_path / "clocks")
    need(not clock.missing, clock.missing)
    code = "import time; a = time.time() - time.monotonic(); print(flush=True); input()"
    code += "; print(time.time() - time.monotonic() - a); time.sleep(0.01)"
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | clock.environment("a"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.readline()
    clock.jump("a", -3600)
    said, _ = process.communicate("\n", timeout=60)
    assert process.returncode == 0
    assert float(said) == pytest.approx(-3600, abs=5)
