"""Where a node is asked whether it is well, from its own machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from springtide.cli import main
from springtide.cli.health import where
from springtide.errors import ConfigError
from springtide.node.config import NodeConfig
from springtide.node.config_tables import Coordinator, Tls
from springtide.wire import channels


def config(bind: str, advertise: str = "", tls: Tls | None = None) -> NodeConfig:
    return NodeConfig(
        node="a",
        bind=bind,
        advertise=advertise,
        data=Path("data"),
        coordinator=Coordinator(inside=True),
        initial_nodes=("a",),
        tls=tls,
        insecure=True,
    )


@pytest.mark.parametrize(
    ("bind", "advertise", "asked"),
    [
        ("127.0.0.1:1", "", "127.0.0.1:1"),
        ("10.0.0.1:1", "a.example.net:1", "10.0.0.1:1"),
        ("0.0.0.0:1", "a.example.net:1", "127.0.0.1:1"),
        ("[::]:1", "a.example.net:1", "[::1]:1"),
    ],
)
def test_a_node_is_asked_where_it_listens(bind: str, advertise: str, asked: str) -> None:
    assert where(config(bind, advertise)) == (asked, None)


def test_its_certificate_is_expected_to_name_what_others_reach_it_at() -> None:
    file = Path(__file__)
    tls = Tls(cert=file, key=file, ca=file)

    assert where(config("0.0.0.0:1", "a.example.net:1", tls))[1] == channels.Tls(file, file, file, "a.example.net")
    assert where(config("127.0.0.1:1", "", tls))[1] == channels.Tls(file, file, file)


def test_a_node_at_any_free_port_cannot_be_found() -> None:
    with pytest.raises(ConfigError, match="any free port"):
        where(config("127.0.0.1:0"))


def test_a_file_and_an_address_are_one_too_many(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["health", "h:1", "--config", "x"]) == 2
    assert "either --config FILE or an address" in capsys.readouterr().err
