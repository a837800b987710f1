"""Which etcd tests and demos run."""

from __future__ import annotations

from pathlib import Path

import pytest

from springtide.testing import etcd


def program(directory: Path, says: str) -> str:
    file = directory / "etcd"
    file.write_text(f"#!/bin/sh\necho '{says}'\n")
    file.chmod(0o755)
    return str(file)


@pytest.mark.parametrize(
    ("says", "version"),
    [("etcd Version: 3.4.23", (3, 4, 23)), ("etcd Version: 3.6.9-rc.1", (3, 6, 9)), ("no", (0,)), ("", (0,))],
)
def test_the_version_is_what_the_program_says(tmp_path: Path, says: str, version: tuple[int, ...]) -> None:
    assert etcd.version(program(tmp_path, says)) == version


def test_a_program_that_does_not_run_has_no_version(tmp_path: Path) -> None:
    assert etcd.version(str(tmp_path / "nothing")) == (0,)


@pytest.mark.parametrize(("says", "taken"), [("etcd Version: 3.4.22", True), ("etcd Version: 3.4.21", False)])
def test_the_systems_etcd_is_taken_where_it_is_new_enough(
    tmp_path: Path, says: str, taken: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(tmp_path, says)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")

    assert (etcd.find() == mine) is taken
