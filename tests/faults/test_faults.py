"""`make faults`, for a short time: real processes under attack, then everything is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.facilities import ALL, need, need_an_etcd_to_kill
from tests.faults import network

MINUTES = 5.0 if ALL else 1.25
FAULTS_MIN = 6


@pytest.mark.slow
@pytest.mark.timeout(60 * MINUTES + 240)
def test_no_promise_is_broken_under_attack(tmp_path: Path, record_property: Callable[[str, object], None]) -> None:
    need_an_etcd_to_kill()
    need(not network.missing(), network.missing())
    report = tmp_path / "report"
    command = [sys.executable, "-m", "tests.faults", "--minutes", str(MINUTES), "--seed", "4", "--report", str(report)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60 * MINUTES + 200, check=False)
    summary = json.loads((report / "summary.json").read_text())
    assert (summary["failure"], summary["anomalies"]) == ("", []), done.stdout
    assert done.returncode == 0, done.stdout + done.stderr
    assert summary["faults"] >= FAULTS_MIN
    if ALL:  # time enough for every kind
        never = {kind: whys for kind, whys in summary["not_tried"].items() if kind not in summary["tried"]}
        assert not [kind for kind, whys in never.items() if any("nobody came past" in why for why in whys)]
    record_property(
        "measured",
        f"under attack for {summary['seconds'] / 60:.1f} minutes: {summary['faults']} faults of "
        f"{len(summary['tried'])} kinds, {summary['takeovers']} takeovers, {summary['commits']} commits acknowledged, "
        f"0 anomalies; healed within {max(summary['heals']):.1f} s at most",
    )
