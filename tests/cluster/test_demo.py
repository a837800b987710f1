"""The demo is a test that anybody can run, and so is tested itself."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from tests.cluster.load import wait_until

DEMO = [sys.executable, "-m", "springtide", "demo"]


@pytest.mark.timeout(180)
@pytest.mark.parametrize("store", ["embedded", "etcd"])
def test_nothing_is_lost_and_the_figures_say_so(store: str) -> None:
    done = subprocess.run(
        [*DEMO, "--json", "--seconds", "3", "--store", store], capture_output=True, text=True, timeout=150, check=False
    )

    assert done.returncode == 0, done.stdout + done.stderr
    figures = json.loads(done.stdout)
    assert figures["uri"] == "", "nobody can connect to a cluster that is gone"
    assert figures["acknowledged"] > 20
    assert (figures["lost"], figures["doubled"], figures["unknown"], figures["problems"]) == (0, 0, 0, [])
    assert figures["took_over"] not in ("", figures["killed"])
    assert figures["takeover_seconds"] < 10
    assert figures["nodes_equal"] and figures["records_compared"] > figures["acknowledged"]
    assert sorted(figures["reads"]) == ["a", "b", "c"] and sum(figures["reads"].values()) > 0


@pytest.mark.timeout(180)
def test_kept_it_can_be_connected_to_until_it_is_ended() -> None:
    demo = subprocess.Popen([*DEMO, "--keep", "--json", "--seconds", "3"], stdout=subprocess.PIPE, text=True)
    assert demo.stdout is not None
    try:
        text = ""
        while not text.rstrip().endswith("\n}"):
            text += demo.stdout.readline()
        uri = json.loads(text)["uri"]
        status = [sys.executable, "-m", "springtide", "status", uri, "--json"]
        told = json.loads(subprocess.run(status, capture_output=True, text=True, check=True).stdout)
        assert sorted(told["in_sync"]) == ["a", "b", "c"]
        wait_until("the demo waits", lambda: demo.poll() is None)
        demo.send_signal(signal.SIGINT)
        assert demo.wait(60) == 0, "Ctrl-C is how it is meant to end"
    finally:
        demo.kill()
        demo.wait()
        demo.stdout.close()
    assert subprocess.run([*DEMO[:-1], "status", uri], capture_output=True, env=dict(os.environ)).returncode == 1
