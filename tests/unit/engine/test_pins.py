"""The log that a receiver of a snapshot will need is kept for it, up to a bound."""

from __future__ import annotations

from dataclasses import replace

import pytest

from springtide.engine import EngineOptions, Trimmed
from tests.unit.engine.disk import SMALL, commit, log, tell

MANY = log(*[{1: b"x" * 100}] * 100)
SHORT = replace(SMALL, log_retention_bytes=1_000)


async def grow(engine, start: int, stop: int) -> None:
    for entry in MANY[start:stop]:
        await commit(engine, [entry])


def test_what_follows_a_pin_is_kept_until_it_is_taken_out(tmp_path):
    async def story(engine):
        await grow(engine, 0, 20)
        pin = engine.pin(20)
        await grow(engine, 20, 60)

        assert engine.oldest.lsn <= 20
        assert engine.point(20) == MANY[19].point
        assert (await engine.read(20, 1))[0] == MANY[20]

        engine.unpin(pin)
        await grow(engine, 60, 65)
        assert engine.oldest.lsn > 50

    tell(tmp_path, story, SHORT)


def test_what_precedes_a_pin_is_forgotten_as_always(tmp_path):
    async def story(engine):
        await grow(engine, 0, 60)
        engine.pin(60)
        await grow(engine, 60, 90)
        assert 50 < engine.oldest.lsn <= 60

    tell(tmp_path, story, SHORT)


def test_the_lowest_pin_counts_and_one_may_be_taken_out_twice(tmp_path):
    async def story(engine):
        await grow(engine, 0, 10)
        low, high, same = engine.pin(10), engine.pin(engine.last.lsn), engine.pin(10)
        await grow(engine, 10, 40)
        engine.unpin(high)
        engine.unpin(low)
        engine.unpin(low)
        await grow(engine, 40, 60)
        assert engine.oldest.lsn <= 10
        engine.unpin(same)
        await grow(engine, 60, 65)
        assert engine.oldest.lsn > 40

    tell(tmp_path, story, SHORT)


def test_a_pin_holds_no_more_than_so_many_bytes(tmp_path):
    """Else one receiver that never ends fills the disk."""

    async def story(engine):
        await grow(engine, 0, 10)
        engine.pin(10)
        await grow(engine, 10, 100)
        assert 50 < engine.oldest.lsn < 85
        assert engine._log.size_bytes <= 5_000 + SHORT.segment_bytes

    tell(tmp_path, story, replace(SHORT, pinned_bytes_max=5_000))


def test_what_is_forgotten_cannot_be_pinned(tmp_path):
    async def story(engine):
        await grow(engine, 0, 60)
        with pytest.raises(Trimmed) as trimmed:
            engine.pin(engine.oldest.lsn - 1)
        assert trimmed.value.oldest == engine.oldest
        engine.pin(engine.oldest.lsn)

    tell(tmp_path, story, SHORT)


def test_four_gigabytes_are_kept_unless_told_otherwise():
    assert EngineOptions().pinned_bytes_max == 4 * 2**30
