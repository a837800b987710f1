"""Programs that a local cluster is made of."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from springtide.ops.guard import END_WITH_STDIN
from springtide.testing.cluster import LocalCluster
from springtide.testing.process import Process, free_port
from springtide.testing.toml import to_toml


def program(tmp_path: Path, text: str) -> Process:
    return Process("program", [sys.executable, "-c", text], tmp_path / "log")


def test_a_killed_process_is_gone_when_kill_returns(tmp_path: Path) -> None:
    process = program(tmp_path, "import time; time.sleep(100)")
    process.start()
    assert process.running and process.status is None

    process.kill()

    assert not process.running and process.status == -9


def test_a_process_has_what_its_own_environment_says(tmp_path: Path) -> None:
    process = program(tmp_path, "import os; print(os.environ['OWN'], flush=True)")
    process.environment["OWN"] = "its own"

    process.start()
    assert process._process is not None
    process._process.wait(30)

    assert process.log_tail() == "its own"


def test_a_paused_process_can_be_killed_and_started_again(tmp_path: Path) -> None:
    process = program(tmp_path, "import time; time.sleep(100)")
    process.start()
    process.pause()

    process.kill()
    process.start()

    assert process.running and not process.paused
    process.kill()


def test_one_that_ignores_sigterm_is_killed_in_the_end(tmp_path: Path) -> None:
    deaf = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
    process = program(tmp_path, f"{deaf}; print('ready', flush=True); time.sleep(100)")
    process.start()
    while "ready" not in process.log_tail():
        assert process.running

    assert not process.stop(0.05)
    assert process.status == -9


def test_settings_in_the_environment_do_not_reach_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_BIND", "elsewhere:1")
    process = program(tmp_path, "import os; print([k for k in os.environ if k.startswith('SPRINGTIDE_')])")
    process.start()
    while process.running:
        pass

    assert process.log_tail() == f"['{END_WITH_STDIN}']"


def test_a_program_does_not_outlive_whoever_started_it(tmp_path: Path) -> None:
    child = "from springtide.ops import guard; guard.end_with_stdin(); import time; time.sleep(100)"
    parent = (
        "import sys, time; from pathlib import Path; from springtide.testing.process import Process;"
        f"process = Process('child', [sys.executable, '-c', {child!r}], Path({str(tmp_path / 'log')!r}));"
        "process.start(); print(process.pid, flush=True); time.sleep(100)"
    )
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None
        pid = int(running.stdout.readline())
        running.kill()

    deadline = time.monotonic() + 30
    while _runs(pid):
        assert time.monotonic() < deadline, f"process {pid} goes on"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_ports_are_given_once() -> None:
    ports = [free_port() for _ in range(50)]
    assert len(set(ports)) == 50


def test_settings_are_written_as_toml() -> None:
    import tomllib

    settings = {"a": 'x"y', "b": [1, 2], "c": True, "t": {"u": {"v": ["w"]}, "x": 1.5, "a.b": {"c d": 2}}}

    assert tomllib.loads(to_toml(settings)) == settings


@pytest.mark.parametrize("wrong", [{"nodes": 0}, {"nodes": 27}, {"store": "zookeeper"}])
def test_a_cluster_that_cannot_be_is_refused_at_once(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError):
        LocalCluster(**wrong)  # type: ignore[arg-type]
