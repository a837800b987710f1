"""docs/compatibility.md promises nothing that no test shows."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINES = (ROOT / "docs" / "compatibility.md").read_text().splitlines()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in LINES if line.startswith("| ")]
FEATURES = [row for row in ROWS if row[0] != "feature"]
NAMED = sorted({name for row in FEATURES for name in re.findall(r"`(tests/[^`]+)`", row[-1])})
SYSTEMS = ("ZODB", "ZEO", "FileStorage", "DemoStorage", "RelStorage", "NEO", "ZRS", "zeoraid", "DirectoryStorage")


def defined(path: Path) -> set[str]:
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, kinds)}


@pytest.mark.parametrize("name", NAMED)
def test_a_test_that_is_named_exists(name: str) -> None:
    path, _, test = name.partition("::")

    assert (ROOT / path).is_file()
    assert test in defined(ROOT / path)


@pytest.mark.parametrize("row", FEATURES, ids=[row[0][:40] for row in FEATURES])
def test_a_feature_has_a_test_or_a_reason(row: list[str]) -> None:
    assert len(row) == 3
    feature, here, shown = row

    assert feature and here
    assert shown or re.search(r"\bno\b|not yet|ZODB's own|tested yet|above", here), "say which test, or why none"


def test_every_system_has_its_part() -> None:
    titles = "\n".join(line for line in LINES if line.startswith("## "))

    assert all(system in titles for system in (*SYSTEMS, "BDBStorage"))
