"""What is in deploy/ works: as far as it can be executed without a container engine or an init system, it is."""

from __future__ import annotations

import configparser
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from springtide.cli.main import springtide
from springtide.node import config
from springtide.testing.admin import Admin, cluster_status
from springtide.testing.process import Process, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"
EXAMPLES = sorted((DEPLOY / "examples").glob("*.toml"))
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose" / "compose.yaml").read_text())
NODES = [name for name, service in COMPOSE["services"].items() if service["image"] == "springtide"]


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(config.PREFIX):
            monkeypatch.delenv(name)


def command_exists(words: list[str]) -> None:
    """``words`` (without the program) are a command of ours, with options that it has."""
    context = click.Context(springtide)
    command = springtide.get_command(context, words[0])
    assert command is not None, f"there is no command {words[0]}"
    command.make_parser(context).parse_args(words[1:])


def in_container() -> dict[str, list[list[str]]]:
    """The instructions of the Containerfile, by name; continued lines joined."""
    text = re.sub(r"\\\n", " ", (DEPLOY / "Containerfile").read_text())
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line and not line.startswith("#")]
    return {name: [rest.split() for word, rest in lines if word == name] for name, _ in lines}


# -- configurations -----------------------------------------------------------------------------


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_is_a_good_configuration(example: Path, tmp_path: Path) -> None:
    text = example.read_text().replace("/etc/springtide/tls", str(tmp_path))
    for name in re.findall(rf'"{re.escape(str(tmp_path))}/([^"]+)"', text):
        (tmp_path / name).touch()
    file = tmp_path / example.name
    file.write_text(text)

    loaded = config.load(file)

    assert loaded.cluster == "main"
    assert loaded.tls is not None or config.is_loopback(loaded.bind)


def test_the_examples_of_several_nodes_are_refused_where_the_certificates_are_missing() -> None:
    from springtide.errors import ConfigError

    with pytest.raises(ConfigError, match="which is not a file that this user can read"):
        config.load(DEPLOY / "examples" / "three-nodes-etcd.toml")


@pytest.mark.parametrize("node", NODES)
def test_the_nodes_of_the_compose_file_are_configured(node: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in COMPOSE["services"][node]["environment"].items():
        monkeypatch.setenv(name, value)

    loaded = config.load(DEPLOY / "compose" / "node.toml")

    assert loaded.node == node
    assert loaded.advertise == f"{COMPOSE['services'][node]['hostname']}:8550"
    assert set(loaded.initial_nodes) == set(NODES) and len(NODES) == 3
    assert loaded.coordinator.etcd is not None
    named = {endpoint.split(":")[0] for endpoint in loaded.coordinator.etcd.endpoints}
    assert named == set(COMPOSE["services"]) - set(NODES)


# -- commands -----------------------------------------------------------------------------------


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.stem)
def test_units_start_commands_that_exist(unit: Path) -> None:
    parsed = configparser.ConfigParser(strict=False, interpolation=None)
    parsed.optionxform = str  # type: ignore[assignment, method-assign]
    parsed.read(unit)
    program, *words = shlex.split(parsed["Service"]["ExecStart"].replace("%i", "main"))

    assert Path(program).name == "springtide"
    command_exists(words)


def test_the_container_starts_and_is_checked_with_commands_that_exist() -> None:
    told = in_container()
    entry = json.loads(" ".join(told["ENTRYPOINT"][-1]))
    start = json.loads(" ".join(told["CMD"][-1]))
    check = " ".join(told["HEALTHCHECK"][-1]).partition("CMD ")[2]

    assert entry == ["springtide"]
    command_exists(start)
    command_exists(json.loads(check)[1:])
    for source in told["COPY"]:
        for name in [word for word in source[:-1] if not word.startswith("--")]:
            assert "--from=build" in source or (DEPLOY.parent / name).exists(), f"{name} is copied and not there"


@pytest.mark.parametrize("node", NODES)
def test_the_compose_file_starts_and_checks_with_commands_that_exist(node: str) -> None:
    service = COMPOSE["services"][node]

    command_exists(service["command"])
    assert service["healthcheck"]["test"][:2] == ["CMD", "springtide"]
    command_exists(service["healthcheck"]["test"][2:])


def test_a_node_started_from_the_first_example_passes_the_containers_health_check(tmp_path: Path) -> None:
    port = free_port()
    text = (DEPLOY / "examples" / "one-node.toml").read_text()
    file = tmp_path / "node.toml"
    file.write_text(text.replace("/var/lib/springtide/main", str(tmp_path / "data")).replace(":8550", f":{port}"))
    program = [sys.executable, "-m", "springtide"]
    check = [word.replace(":8550", f":{port}") for word in COMPOSE["services"][NODES[0]]["healthcheck"]["test"][2:]]

    def healthy() -> bool:
        return subprocess.run([*program, *check], capture_output=True, timeout=60, check=False).returncode == 0

    node = Process("main", [*program, "node", "--config", str(file)], tmp_path / "node.log")
    assert not healthy()
    node.start()
    try:
        with Admin([f"127.0.0.1:{port}"]) as admin:
            admin.wait_for(lambda: cluster_status(admin)["primary"] == "main")
        assert healthy()
    finally:
        assert node.stop(30), node.log_tail()
    assert node.status == 0, node.log_tail()
