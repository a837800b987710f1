"""Every bad setting is one sentence that names the place and says what to do."""

import json
import os
import socket
from pathlib import Path

import pytest

from springtide.errors import ConfigError
from springtide.node import config
from springtide.node.config import NodeConfig
from springtide.node.config_tables import Coordinator, Tls

GOOD = """
node = "a"
bind = "127.0.0.1:7101"
data = "data"
initial_nodes = ["a", "b", "c"]

[coordinator]
embedded = "127.0.0.1:7099"
"""


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(config.PREFIX):
            monkeypatch.delenv(name)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "node.toml"


def loaded(file: Path, text: str, **overrides: object) -> NodeConfig:
    file.write_text(text)
    return config.load(file, overrides)


def refusal(file: Path, text: str, **overrides: object) -> str:
    with pytest.raises(ConfigError) as refused:
        loaded(file, text, **overrides)
    message = str(refused.value)
    assert "\n" not in message and "Traceback" not in message
    return message


def test_a_small_file_is_enough(file: Path) -> None:
    settings = loaded(file, GOOD)

    assert settings.node == "a"
    assert settings.data == file.parent / "data", "relative paths are meant from the file's directory"
    assert settings.coordinator == Coordinator(embedded="127.0.0.1:7099")
    assert (settings.lease_seconds, settings.heartbeat_seconds, settings.stall_seconds) == (3.0, 0.25, 1.0)
    assert (settings.vote_wait_seconds, settings.transaction_timeout_seconds) == (10.0, 120.0)
    assert settings.limits.record_bytes_max == 128 * 2**20
    assert settings.limits.transaction_bytes_max == 2**30
    assert not settings.insecure and not settings.allow_reset and settings.tls is None


def test_the_environment_wins_over_the_file_and_the_command_line_over_both(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPRINGTIDE_LEASE_SECONDS", "5")
    monkeypatch.setenv("SPRINGTIDE_BIND", "127.0.0.1:1")
    monkeypatch.setenv("SPRINGTIDE_INITIAL_NODES", "a, b")
    monkeypatch.setenv("SPRINGTIDE_LIMITS__RECORD_BYTES_MAX", "1 MiB")

    settings = loaded(file, GOOD + "\n[limits]\ntransaction_bytes_max = 2000000\n", bind="127.0.0.1:2")

    assert settings.lease_seconds == 5
    assert settings.bind == "127.0.0.1:2"
    assert settings.initial_nodes == ("a", "b")
    assert settings.limits.record_bytes_max == 2**20 and settings.limits.transaction_bytes_max == 2_000_000


def test_the_environment_can_say_what_the_file_does_not(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_COORDINATOR__ETCD__ENDPOINTS", "e1:2379,https://e2:2379")
    monkeypatch.setenv("SPRINGTIDE_COORDINATOR__ETCD__CA", __file__)

    settings = loaded(file, GOOD.split("[coordinator]")[0])

    assert settings.coordinator.etcd is not None
    assert settings.coordinator.etcd.endpoints == ("e1:2379", "e2:2379")


def test_a_password_is_not_shown(file: Path) -> None:
    etcd = '[coordinator.etcd]\nendpoints = ["e:2379"]\nusername = "u"\npassword = "secret"\n'

    settings = loaded(file, GOOD.split("[coordinator]")[0] + etcd)

    assert settings.coordinator.etcd is not None
    assert settings.coordinator.etcd.password.get_secret_value() == "secret"
    assert "secret" not in repr(settings)


def test_standalone_needs_no_file(tmp_path: Path) -> None:
    settings = config.standalone(tmp_path / "db")

    assert settings.coordinator.inside
    assert settings.initial_nodes == (settings.node,)
    assert settings.bind == config.STANDALONE_BIND


def test_standalone_at_every_address_is_reached_at_the_machines_name(tmp_path: Path) -> None:
    named = config.standalone(tmp_path / "db", "0.0.0.0:8550", insecure=True)
    told = config.standalone(tmp_path / "db", "0.0.0.0:8550", insecure=True, advertise="db.example.net:1")

    assert named.advertise == f"{socket.gethostname()}:8550"
    assert told.advertise == "db.example.net:1"


ETCD = GOOD.split("[coordinator]")[0] + "[coordinator.etcd]\n"


def changed(line: str, key: str) -> str:
    """GOOD with the line of ``key`` replaced, or with a new line where it has none."""
    lines = GOOD.splitlines()
    kept = [old for old in lines if old.split("=")[0].strip() != key]
    return "\n".join([line, *kept])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (changed("", "node"), ('"node"', "missing", 'node = "a"')),
        (changed("", "bind"), ('"bind"', "missing")),
        (changed("", "data"), ('"data"', "missing")),
        (changed('data = "/etc/hostname"', "data"), ('"data"', "/etc/hostname", "not a directory")),
        (changed("", "initial_nodes"), ('"initial_nodes"', "missing", '["a", "b", "c"]')),
        (GOOD.split("[coordinator]")[0], ('"coordinator"', "missing", "[coordinator.etcd]")),
        (changed("node = 5", "node"), ('"node"', "must be a string, not 5")),
        (changed('node = "a b"', "node"), ('"node"', "letters, digits")),
        (changed('bind = "7101"', "bind"), ('"bind"', '"host:port"')),
        (changed('bind = "h:70000"', "bind"), ('"bind"', "65535")),
        (changed('bind = "::1:7101"', "bind"), ('"bind"', "brackets")),
        (changed('lease_seconds = "soon"', "lease_seconds"), ('"lease_seconds"', "must be a number, not 'soon'")),
        (changed("lease_seconds = 0", "lease_seconds"), ('"lease_seconds"', "at least 0.2, not 0")),
        (changed("lease_seconds = 0.3", "lease_seconds"), ('"lease_seconds"', "twice heartbeat_seconds")),
        (changed("stall_seconds = 0.1", "stall_seconds"), ('"stall_seconds"', "twice heartbeat_seconds")),
        (changed("heartbeat_seconds = -1", "heartbeat_seconds"), ('"heartbeat_seconds"', "more than 0, not -1")),
        (changed("min_in_sync = 4", "min_in_sync"), ('"min_in_sync"', "(3)")),
        (changed('insecure = "perhaps"', "insecure"), ('"insecure"', "true or false, not 'perhaps'")),
        (changed('log_retention_bytes = "much"', "l"), ('"log_retention_bytes"', "number of bytes", "'much'")),
        (changed("leese_seconds = 3", "l"), ('"leese_seconds"', "not known", 'did you mean "lease_seconds"?')),
        (changed("flavour = 3", "f"), ('"flavour"', "not known", "remove it")),
        (changed("tls = 3", "tls"), ('"tls"', "must be a table, not 3")),
        (changed('initial_nodes = ["a", "a"]', "initial_nodes"), ('"initial_nodes"', "twice")),
        (changed("initial_nodes = 3", "initial_nodes"), ('"initial_nodes"', "list of strings, not 3")),
        (changed("initial_nodes = [1]", "initial_nodes"), ('"initial_nodes"', "string, not 1")),
        (GOOD + "inside = true\n", ('"coordinator"', "exactly one")),
        (GOOD.replace("embedded", "embeded"), ('"coordinator.embeded"', 'did you mean "embedded"?')),
        (GOOD.replace('embedded = "127.0.0.1:7099"', "inside = true"), ('"initial_nodes"', "other nodes")),
        (ETCD, ('"coordinator.etcd.endpoints"', "missing")),
        (ETCD + "endpoints = []", ('"coordinator.etcd.endpoints"', "empty")),
        (ETCD + 'endpoints = ["e"]', ('"coordinator.etcd.endpoints"', '"host:port"')),
        (ETCD + 'endpoints = ["https://e:1"]', ('"coordinator.etcd.endpoints"', "needs ca")),
        (ETCD + 'endpoints = ["e:1"]\nca = "nowhere"', ('"coordinator.etcd.ca"', "nowhere", "can read")),
        (GOOD + '[tls]\ncert = "x"\n', ('"tls.', "(and 2 more)")),
        (GOOD + "[limits]\nrecord_bytes_max = 5000000000\n", ('"limits.record_bytes_max"', "at most 4294967295")),
        (GOOD + "[limits]\ntransaction_bytes_max = 5\n", ('"limits"', "transaction_bytes_max", "whole records")),
        (changed('bind = "10.0.0.1:7101"', "bind"), ('"bind"', "10.0.0.1:7101", "[tls]", "insecure = true")),
        (changed('bind = "0.0.0.0:7101"', "bind"), ('"bind"', "[tls]", "insecure = true")),
        (changed('insecure = true\nbind = "0.0.0.0:7101"', "bind"), ('"advertise"', "missing", "0.0.0.0")),
        ("node = \nbind", ("not valid TOML", "line 1")),
        ('node = "a"\nnode = "b"', ("not valid TOML",)),
    ],
)
def test_what_is_wrong_is_said_in_one_sentence(file: Path, text: str, told: tuple[str, ...]) -> None:
    message = refusal(file, text)

    assert message.startswith(str(file))
    for part in told:
        assert part in message


def test_a_wrong_variable_is_named_and_not_the_file(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPRINGTIDE_LEASE_SECONDS", "soon")

    message = refusal(file, GOOD)

    assert message == "the environment variable SPRINGTIDE_LEASE_SECONDS must be a number, not 'soon'"


@pytest.mark.parametrize("what", ["nothing", "directory", "binary"])
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, what: str) -> None:
    path = tmp_path / "node.toml"
    if what == "directory":
        path.mkdir()
    elif what == "binary":
        path.write_bytes(b"\xff\xfe\x00")

    with pytest.raises(ConfigError, match=r"node\.toml: ") as refused:
        config.load(path)

    assert "\n" not in str(refused.value)


def test_beyond_loopback_needs_tls_or_a_plain_word(file: Path, tmp_path: Path) -> None:
    outside = changed('bind = "10.0.0.1:7101"', "bind")
    pem = tmp_path / "some.pem"
    pem.write_text("pem")

    assert loaded(file, outside, insecure=True).insecure
    with_tls = loaded(file, outside + f'\n[tls]\ncert = "some.pem"\nkey = "some.pem"\nca = {json.dumps(str(pem))}\n')
    assert with_tls.tls == Tls(cert=pem, key=pem, ca=pem)


@pytest.mark.parametrize("bind", ["localhost:1", "127.8.0.1:1", "[::1]:1"])
def test_loopback_needs_neither(file: Path, bind: str) -> None:
    assert loaded(file, changed(f'bind = "{bind}"', "bind")).bind == bind


def test_nothing_is_packed_unless_a_table_says_so(file: Path) -> None:
    assert loaded(file, GOOD).pack is None

    pack = loaded(file, GOOD + '[pack]\nkeep = "7 days"\nevery = "12 hours"\nkeep_revisions = 3\n').pack

    assert pack is not None
    assert (pack.keep, pack.every, pack.keep_revisions, pack.gc) == (7 * 86400, 12 * 3600, 3, True)


@pytest.mark.parametrize("keep", ["seven days", "7", "7 moons", "-1 days"])
def test_a_duration_says_its_unit(file: Path, keep: str) -> None:
    assert "keep" in refusal(file, GOOD + f'[pack]\nkeep = "{keep}"\n')
