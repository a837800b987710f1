"""What stops a node, because its disk would say what no rule allows."""

from __future__ import annotations

from dataclasses import replace

import pytest

from springtide import errors
from springtide.records import entries
from springtide.records.entries import Kind
from springtide.records.position import ORIGIN
from tests.unit.engine.disk import applying_held, commit, id_of, log, tell, transaction

ONE, TWO = log({1: b"a1"}, {1: b"a2"})


def again(after):
    """The first transaction's id once more, with a tid of its own."""
    body = entries.encode_transaction(replace(transaction(9, {1: b"a9"}), id=id_of(1)))
    return entries.following(after, 1, Kind.TRANSACTION, body)


def test_what_is_not_on_this_disk_is_not_committed_here(tmp_path):
    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        await engine.append([ONE])

        with pytest.raises(errors.Broken, match="only 1 is on this disk"):
            engine.commit(2)

        assert [failure.invariant for failure in failures] == ["R3"]
        assert engine.commit_lsn == 0

    tell(tmp_path, story)


def test_an_id_is_not_committed_a_second_time_while_the_first_is_in_memory(tmp_path):
    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        with applying_held(engine):
            await commit(engine, [ONE], applied=False)
            with pytest.raises(errors.Broken, match="a second time"):
                await commit(engine, [again(ONE.point)], applied=False)
        assert [failure.invariant for failure in failures] == ["I7"]

    tell(tmp_path, story)


def test_an_id_is_not_committed_a_second_time_after_the_first_is_applied(tmp_path):
    async def story(engine):
        failures = []
        engine.on_failure = failures.append
        await commit(engine, [ONE])
        with pytest.raises(errors.Broken, match="a second time"):
            await commit(engine, [again(ONE.point)])
        assert [failure.invariant for failure in failures] == ["I7"]

    tell(tmp_path, story)


def test_the_log_has_no_gap(tmp_path):
    async def story(engine):
        with pytest.raises(errors.Broken, match=r"would follow 0/0"):
            await engine.append([TWO])
        assert engine.last == ORIGIN

    tell(tmp_path, story)


def test_the_state_has_no_gap(tmp_path):
    async def story(engine):
        await commit(engine, [ONE])

        def skip(state):
            state.apply([replace(decoded, entry=replace(decoded.entry, lsn=5))])

        await engine.append([TWO])
        (decoded,) = engine._point.above(0)
        with pytest.raises(errors.Broken, match="entry 5 would be applied after 1"):
            await engine._applier.call(skip)

    tell(tmp_path, story)
