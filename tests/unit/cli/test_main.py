"""Whatever goes wrong, the command line says it in one sentence."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

import pytest
from ZODB.POSException import StorageError

from springtide import errors
from springtide.cli import main, status


def test_the_version_is_the_distributions(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["--version"]) == 0
    assert metadata.version("springtide") in capsys.readouterr().out


@pytest.mark.parametrize("error", [errors.Damaged("the file x is damaged"), StorageError("the file x is damaged")])
def test_what_is_raised_on_purpose_is_a_sentence_and_a_status(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(*_: object) -> int:
        raise error

    monkeypatch.setattr(status, "run", run)

    assert main.run(["status", "h:1"]) == 1
    assert capsys.readouterr().err == "springtide: the file x is damaged\n"


def test_what_is_not_raised_on_purpose_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def run(*_: object) -> int:
        raise ZeroDivisionError

    monkeypatch.setattr(status, "run", run)

    with pytest.raises(ZeroDivisionError):
        main.run(["status", "h:1"])


def test_an_interrupt_is_not_an_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def run(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(status, "run", run)

    assert main.run(["status", "h:1"]) == main.INTERRUPTED
    assert capsys.readouterr().err.strip() == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["node"], "either --config FILE or --standalone DIR"),
        (["node", "--config", "x", "--standalone", "y"], "either --config FILE or --standalone DIR"),
        (["status"], "Missing argument 'URI'"),
        (["demo", "--store", "zookeeper"], "'zookeeper' is not one of"),
        (["demo", "--seconds", "1"], "--seconds"),
        (["pack", "h:1", "--keep", "a while"], "'a while' must be a number and a unit, as in \"7 days\""),
        (["dance"], "No such command 'dance'"),
    ],
)
def test_wrong_usage_is_told_apart(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(words) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["status", "h:p"], "'h:p' is not an address"),
        (["status", "springtide://"], "no node is named"),
        (["status", "springtide://[::1"], 'write IPv6 addresses as "[address]:port"'),
        (["status", "springtide://[x]:1"], "write IPv6 addresses as"),
        (["status", "user@h:1"], "an address names no user"),
        (["status", "springtide://user@h:1"], "an address names no user"),
        (["status", "h h:1"], "is not an address"),
        (["status", "zeo://h:1"], 'should begin with "springtide://"'),
        (["node", "--config", "/does/not/exist.toml"], "/does/not/exist.toml: cannot read"),
        (["node", "--standalone", __file__], f"{__file__}, which is not a directory"),
        (["node", "--standalone", "x", "--bind", "0.0.0.0:1"], "there is no [tls] table"),
        (["node", "--standalone", "x", "--bind", "0.0.0.0:0", "--insecure"], "(--advertise)"),
        (["node", "--standalone", "x", "--advertise", "here"], '"advertise" must be "host:port"'),
        (["coordinator", "--file", "x", "--bind", "here"], "--bind 'here' must be"),
        (["coordinator", "--file", "x", "--bind", "0.0.0.0:1"], "speaks no TLS"),
    ],
)
def test_what_cannot_be_done_is_a_sentence(words: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(words) == 1
    said = capsys.readouterr().err
    assert told in said
    assert said.count("\n") == 1


def test_an_import_of_a_file_that_is_not_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["import", str(tmp_path / "Data.fs"), "--to", "springtide://h:1"]) == 2
    assert "does not exist" in capsys.readouterr().err
