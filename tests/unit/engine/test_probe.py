from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from springtide import errors
from springtide.engine import Engine
from springtide.engine.layout import STATE_FORMAT
from springtide.records.ids import TID_MAX, oid
from tests.unit.engine.disk import SMALL, commit, log, tell

PROBING = replace(SMALL, probe=True)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    tell(tmp_path, lambda engine: commit(engine, log(*[dict.fromkeys(range(100), b"x" * 1000)] * 3)))
    return tmp_path / "state" / "data.mdb"


def test_a_sound_state_opens(tmp_path, data):
    async def story(engine):
        assert len(engine.load_before(oid(7), TID_MAX).data) == 1_000

    tell(tmp_path, story, PROBING)


@pytest.mark.parametrize("damage", ["garbage in the pages", "zeros in the pages", "no meta page", "cut short", "empty"])
def test_a_damaged_state_is_told_and_kills_nobody(tmp_path, data, damage):
    content = data.read_bytes()
    match damage:
        case "garbage in the pages":
            content = content[:8192] + bytes(range(1, 256)) * (len(content) // 255)
        case "zeros in the pages":
            content = content[:8192] + bytes(len(content) - 8192)
        case "no meta page":
            content = b"\xff" * 8192 + content[8192:]
        case "cut short":
            content = content[: 8192 + 100]
        case "empty":
            content = b"garbage"
    data.write_bytes(content)

    with pytest.raises(errors.Damaged, match="state"):
        Engine.open(tmp_path, "a", PROBING)


def test_a_newer_state_is_refused(tmp_path, data):
    import lmdb

    from springtide.engine.layout import seal

    env = lmdb.open(str(data.parent), max_dbs=8, map_size=1 << 30)
    with env.begin(write=True) as txn:
        newer = seal(b"format", (STATE_FORMAT + 1).to_bytes(4, "big"))
        txn.put(b"format", newer, db=env.open_db(b"meta", txn=txn))
    env.close()

    with pytest.raises(errors.NewerFormat, match="format 2, this version reads up to 1"):
        Engine.open(tmp_path, "a", PROBING)
