"""What is in deploy/ works: as far as it can be executed without a container engine or an init system, it is."""

from __future__ import annotations

import configparser
import contextlib
import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import trustme
import yaml

import springtide as springtide_package
from springtide.cli.main import springtide
from springtide.node import config
from springtide.node.address import is_loopback
from springtide.testing.admin import Admin, cluster_status
from springtide.testing.process import Process, free_port
from springtide.wire.channels import Tls

PROGRAM = [sys.executable, "-m", "springtide"]
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
    assert loaded.tls is not None or is_loopback(loaded.bind)


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


def test_the_container_starts_with_a_command_that_exists() -> None:
    told = in_container()
    entry = json.loads(" ".join(told["ENTRYPOINT"][-1]))
    start = json.loads(" ".join(told["CMD"][-1]))

    assert entry == ["springtide"]
    command_exists(start)
    for source in told["COPY"]:
        for name in [word for word in source[:-1] if not word.startswith("--")]:
            assert "--from=build" in source or (DEPLOY.parent / name).exists(), f"{name} is copied and not there"


@pytest.mark.parametrize("node", NODES)
def test_the_compose_file_starts_and_checks_with_commands_that_exist(node: str) -> None:
    service = COMPOSE["services"][node]

    command_exists(service["command"])
    assert service["healthcheck"]["test"][:2] == ["CMD", "springtide"]
    command_exists(service["healthcheck"]["test"][2:])


def own(words: list[str], tmp_path: Path, port: int) -> list[str]:
    """A command of the container with this test's directory, file and port in the place of the container's."""
    text = "\0".join(words).replace("8550", str(port))
    text = text.replace("/etc/springtide/node.toml", str(tmp_path / "node.toml"))
    text = text.replace("/data", str(tmp_path / "data"))
    return text.split("\0")


@contextlib.contextmanager
def started(words: list[str], port: int, tmp_path: Path, tls: Tls | None = None) -> Iterator[Process]:
    """A node that leads, until the end of the block."""
    node = Process("node", [*PROGRAM, *words], tmp_path / "node.log")
    node.start()
    try:
        with Admin([f"127.0.0.1:{port}"], tls) as admin:
            admin.wait_for(lambda: cluster_status(admin)["primary"])
        yield node
    finally:
        assert node.stop(30), node.log_tail()
    assert node.status == 0, node.log_tail()


def container_check(tmp_path: Path, port: int) -> tuple[int, str]:
    """Status and words of the container's health check, which is a line of shell."""
    (check,) = own([" ".join(in_container()["HEALTHCHECK"][-1]).partition("CMD ")[2]], tmp_path, port)
    check = check.replace("springtide health", f"{shlex.join(PROGRAM)} health")
    done = subprocess.run(["sh", "-c", check], capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stdout + done.stderr


def test_a_node_started_from_the_first_example_passes_both_health_checks(tmp_path: Path) -> None:
    port = free_port()
    text = (DEPLOY / "examples" / "one-node.toml").read_text()
    file = tmp_path / "node.toml"
    file.write_text(text.replace("/var/lib/springtide/main", str(tmp_path / "data")).replace(":8550", f":{port}"))
    check = own(COMPOSE["services"][NODES[0]]["healthcheck"]["test"][2:], tmp_path, port)

    def healthy() -> bool:
        return subprocess.run([*PROGRAM, *check], capture_output=True, timeout=60, check=False).returncode == 0

    assert not healthy()
    status, told = container_check(tmp_path, port)
    assert status == 1 and told.startswith(f"springtide: 127.0.0.1:{port} does not answer (")
    with started(["node", "--config", str(file)], port, tmp_path):
        assert healthy()
        assert container_check(tmp_path, port) == (0, f"serving at 127.0.0.1:{port}\n")


def test_the_start_that_the_containerfile_documents_is_a_node_that_commits(tmp_path: Path) -> None:
    port = free_port()
    (run,) = re.findall(
        r"^#   podman run .* springtide (node .*)$", (DEPLOY / "Containerfile").read_text(), re.MULTILINE
    )

    with started(own(run.split(), tmp_path, port), port, tmp_path):
        assert container_check(tmp_path, port) == (0, f"serving at 127.0.0.1:{port}\n")
        # The name that the node tells others need not be known where the client is, as with a published port.
        db = springtide_package.open(f"springtide://127.0.0.1:{port}/?timeout=30")
        with db.transaction() as connection:
            connection.root()["x"] = 1
        db.close()


def test_the_health_check_speaks_the_nodes_tls_and_knows_its_name(tmp_path: Path) -> None:
    port, authority = free_port(), trustme.CA()
    issued = authority.issue_cert("a.example.net")
    issued.private_key_and_cert_chain_pem.write_to_path(tmp_path / "node.pem")
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    (tmp_path / "node.toml").write_text(
        f'node = "a"\nbind = "0.0.0.0:{port}"\nadvertise = "a.example.net:{port}"\ndata = "data"\n'
        '[coordinator]\ninside = true\n[tls]\ncert = "node.pem"\nkey = "node.pem"\nca = "ca.pem"\n'
    )
    tls = Tls(tmp_path / "ca.pem", tmp_path / "node.pem", tmp_path / "node.pem", "a.example.net")

    with started(["node", "--config", str(tmp_path / "node.toml")], port, tmp_path, tls):
        assert container_check(tmp_path, port) == (0, f"serving at 127.0.0.1:{port}\n")


def test_an_operators_error_does_not_start_a_unit_for_ever() -> None:
    for unit in UNITS:
        parsed = configparser.ConfigParser(strict=False, interpolation=None)
        parsed.read(unit)
        burst, interval = (int(parsed["Unit"][f"StartLimit{key}"]) for key in ("Burst", "IntervalSec"))

        # As many starts as are allowed, and what they need at most to fail, fit into the interval.
        assert burst * (int(parsed["Service"]["RestartSec"]) + 30) <= interval
