"""Reads against a model that keeps every transaction in a list."""

from __future__ import annotations

import asyncio
import tempfile
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from springtide import errors
from springtide.engine import Loaded, Result
from springtide.records.ids import TID_MAX, TID_ZERO, Tid, next_tid, oid, tid
from tests.unit.engine.disk import (
    SMALL,
    Changes,
    applying_held,
    commit,
    id_of,
    log,
    oids,
    opened,
    tell,
    transaction,
)


class Model:
    """What was committed, and answers to every question by looking through all of it."""

    def __init__(self, committed: Sequence[Changes]) -> None:
        self.committed = [(tid(number), changes) for number, changes in enumerate(committed, 1)]
        self.as_of = self.committed[-1][0] if self.committed else TID_ZERO

    def revisions(self, name: int) -> list[tuple[Tid, bytes | None]]:
        return [(at, changes[name]) for at, changes in self.committed if name in changes]

    def load_before(self, name: int, before: Tid) -> Loaded:
        older = [(at, data) for at, data in self.revisions(name) if at < before]
        newer = [at for at, _ in self.revisions(name) if at >= before]
        following = newer[0] if newer else None
        if not older:
            result = Result.NOT_YET if newer else Result.UNKNOWN
            return Loaded(result, b"", TID_ZERO, following, self.as_of)
        at, data = older[-1]
        return Loaded(Result.DELETED if data is None else Result.FOUND, data or b"", at, following, self.as_of)

    def load_serial(self, name: int, serial: Tid) -> Loaded:
        if serial in [at for at, _ in self.revisions(name)]:
            return self.load_before(name, next_tid(serial))
        return Loaded(Result.UNKNOWN, b"", TID_ZERO, None, self.as_of)

    def current(self, name: int) -> Tid | None:
        found = self.revisions(name)
        return found[-1][0] if found else None


NAMES = range(4)
histories = st.lists(
    st.dictionaries(st.sampled_from(NAMES), st.one_of(st.none(), st.binary(max_size=8)), min_size=1),
    min_size=1,
    max_size=12,
)


def agree(engine, made: list[Changes], count: int) -> None:
    """Every question gets the model's answer."""
    model = Model(made[:count])
    moments = [tid(n) for n in range(len(made) + 2)] + [TID_MAX]
    for name in NAMES:
        assert engine.current(oid(name)) == model.current(name)
        for moment in moments:
            assert engine.load_before(oid(name), moment) == model.load_before(name, moment)
            assert engine.load_serial(oid(name), moment) == model.load_serial(name, moment)
    for number in range(1, len(made) + 1):
        assert engine.outcome(id_of(number)) == (tid(number) if number <= count else None)
    whole = [transaction(number, changes) for number, changes in enumerate(made[:count], 1)]
    for start in range(len(made) + 1):
        assert [read(t) for t in engine.transactions(tid(start), tid(start + 3))] == [
            t for t in whole if tid(start) <= t.tid <= tid(start + 3)
        ]
        assert list(engine.changed_since(tid(start))) == [
            (t.tid, tuple(write.oid for write in t.writes)) for t in whole if t.tid > tid(start)
        ]


def read(t):
    """With its writes in hand."""
    return type(t)(t.tid, t.id, t.user, t.description, t.extension, tuple(t.writes), t.status)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(histories, st.data())
def test_reads_agree_with_the_model_wherever_the_entries_are(made, data):
    """In the log only, in memory, half applied, applied, and after a restart."""
    written = log(*made)
    applied = data.draw(st.integers(0, len(made)), "applied")
    committed = data.draw(st.integers(applied, len(made)), "committed")

    async def first(engine):
        await engine.append(written)
        engine.commit(applied)
        await engine.until_applied(applied)
        agree(engine, made, applied)
        with applying_held(engine):
            engine.commit(committed)
            agree(engine, made, committed)
        await engine.until_applied(committed)
        agree(engine, made, committed)

    async def second(engine):
        agree(engine, made, committed)
        engine.commit(len(made))
        agree(engine, made, len(made))

    with tempfile.TemporaryDirectory() as directory:
        tell(Path(directory), first)
        tell(Path(directory), second)


def test_nothing_is_missing_while_entries_move_from_memory_to_the_state(tmp_path):
    """Other threads read while entries are committed and applied, in batches and in slices."""
    made: list[Changes] = [dict.fromkeys(range(5), b"%d" % round) for round in range(120)]
    made[60] = dict.fromkeys(range(1500), b"60")
    written = log(*made)
    wrong: list[str] = []
    done = threading.Event()

    def look(engine) -> None:
        while not done.is_set():
            floor = engine.commit_tid
            loaded = engine.load_before(oid(3), TID_MAX)
            if loaded.tid != loaded.as_of or loaded.as_of < floor or loaded.next_tid is not None:
                wrong.append(f"{loaded} at {floor.hex()}")
            if floor > tid(1):
                past = engine.load_before(oid(3), floor)
                if next_tid(past.tid) != floor or past.next_tid != floor:
                    wrong.append(f"{past} before {floor.hex()}")
            if engine.current(oid(3)) < floor:
                wrong.append("current fell back")

    async def story(engine):
        await commit(engine, written[:1])
        readers = [threading.Thread(target=look, args=(engine,)) for _ in range(2)]
        for reader in readers:
            reader.start()
        try:
            for entry in written[1:]:
                await engine.append([entry])
                engine.commit(entry.lsn)
            await engine.until_applied(len(written))
        finally:
            done.set()
            for reader in readers:
                await asyncio.to_thread(reader.join)
        assert wrong == []

    tell(tmp_path, story)


def test_what_commits_while_one_iterates_is_not_shown(tmp_path):
    made = log(*[{1: b"%d" % n} for n in range(5)])

    async def story(engine):
        await engine.append(made)
        engine.commit(3)
        changes = engine.changed_since(TID_ZERO)
        seen = [next(changes)]
        engine.commit(5)
        await engine.until_applied(5)
        seen += changes
        assert seen == [(tid(n), oids(1)) for n in (1, 2, 3)]

    tell(tmp_path, story)


def test_the_writes_of_an_iterated_transaction_are_read_when_looked_at(tmp_path):
    made = log({n: b"%d" % n for n in range(500)})

    async def story(engine):
        await commit(engine, made)
        (found,) = engine.transactions()
        assert len(found.writes) == 500
        assert found.writes[7].data == b"7"
        assert [write.oid for write in found.writes[498:]] == list(oids(498, 499))
        assert [write.data for write in found.writes] == [b"%d" % n for n in range(500)]

    tell(tmp_path, story)


def test_a_damaged_record_is_not_served(tmp_path):
    secret = b"a record that is found again in the file"

    async def first(engine):
        await commit(engine, log({1: secret, 2: b"fine"}))

    tell(tmp_path, first)
    path = tmp_path / "state" / "data.mdb"
    data = path.read_bytes()
    path.write_bytes(data.replace(secret, b"A" + secret[1:]))

    async def second(engine):
        assert engine.load_before(oid(2), TID_MAX).data == b"fine"
        with pytest.raises(errors.Damaged, match="its checksum differs"):
            engine.load_before(oid(1), TID_MAX)
        with pytest.raises(errors.Damaged, match="its checksum differs"):
            list(engine.digests(TID_MAX))

    tell(tmp_path, second)


@pytest.mark.parametrize("nonsense", [b"", b"x", b"x" * 600])
def test_names_of_a_wrong_length_name_nothing(tmp_path, nonsense):
    async def story(engine):
        await commit(engine, log({1: b"x"}))
        assert engine.load_before(nonsense, TID_MAX).result is Result.UNKNOWN
        assert engine.current(nonsense) is None
        assert engine.outcome(nonsense) is None

    tell(tmp_path, story)


def test_a_closed_engine_says_that_it_is_stopping(tmp_path):
    async def whole():
        async with opened(tmp_path, SMALL) as engine:
            pass
        with pytest.raises(errors.Stopping):
            engine.load_before(oid(1), TID_MAX)

    asyncio.run(whole())
