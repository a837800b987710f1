"""Every file in this folder is a story. ``REWRITE=1 pytest tests/scenarios`` re-records the answers, for review."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.scenarios.storyteller import Story

STORIES = sorted(Path(__file__).parent.glob("*.txt"))


def retold(text: str) -> str:
    """The story with the answers of today: comments and lines as they are, what follows ``----`` anew."""
    story = Story()
    blocks = []
    for block in text.strip().split("\n\n"):
        told, _, _ = block.partition("----\n")
        lines = told.strip().splitlines()
        if not any(line for line in lines if not line.startswith("#")):
            blocks.append("\n".join(lines))
            continue
        answers = [story.tell(line) for line in lines if not line.startswith("#")]
        blocks.append("\n".join([*lines, "----", *answers]))
    return "\n\n".join(blocks) + "\n"


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_story_is_still_true(path: Path) -> None:
    told = path.read_text()
    today = retold(told)
    if os.environ.get("REWRITE"):
        path.write_text(today)
    else:
        assert today == told
