"""What a process brings late, or after a gap, counts no further than that process knew."""

from __future__ import annotations

import lmdb
import pytest

from springtide.client.messages import Purged
from springtide.client.shelf.batch import Batch, Change
from springtide.client.shelf.rows import Identity, Known
from springtide.client.shelf.table import Table
from springtide.records.ids import oid
from tests.unit.build import tid

A, B = oid(1), oid(2)


@pytest.fixture
def table(tmp_path):
    table = Table(lmdb.open(str(tmp_path), max_dbs=4, sync=False), 10**6)
    table.begin(Identity("c1", "h1"), tid(10), 0)
    yield table
    table.close()


def write(table, batch):
    table.write(batch, lambda oid, tid: False)


def batch(since, *changes, packs=0):
    made = Batch(tid(since), packs)
    for at in changes:
        made.change(Change(tid(at), (B,)))
    return made


def test_what_is_open_to_a_process_that_is_behind_is_bounded_where_it_is(table):
    write(table, batch(10, 12))
    late = batch(10, 11)
    late.add(A, tid(5), b"x", Known.OPEN)
    write(table, late)

    assert table.newest(A, tid(20)).as_of == tid(11)


def test_what_is_open_in_a_run_that_ended_was_current_at_its_end(table):
    first = batch(10)
    first.add(A, tid(5), b"x", Known.OPEN)
    write(table, first)
    write(table, batch(15, 16))

    assert table.state().through == tid(16)
    assert table.newest(A, tid(20)).as_of == tid(10)


def test_what_a_process_saw_before_a_pack_that_others_know_is_not_put_down(table):
    knowing = batch(10)
    knowing.purge(Purged(1, (A,)))
    write(table, knowing)
    late = batch(10)
    late.add(A, tid(5), b"x", Known.OPEN)
    write(table, late)

    assert table.newest(A, tid(20)) is None


def test_what_changed_nobody_knows_when_is_bounded_where_it_was_known(table):
    first = batch(10, 12)
    first.add(A, tid(5), b"x", Known.OPEN)
    first.add(oid(3), tid(5), b"y", Known.OPEN)
    write(table, first)
    leaping = batch(12)
    leaping.add(B, tid(12), b"z", Known.OPEN)
    leaping.change(Change(tid(20), (A, B), leapt=True))
    write(table, leaping)

    known = {name: table.newest(name, tid(30))[3:5] for name in (A, B, oid(3))}
    assert known == {A: (None, tid(12)), B: (None, tid(12)), oid(3): (None, tid(20))}


@pytest.mark.parametrize("more", ["changes", "purges"])
def test_what_waits_is_bounded(monkeypatch, table, more):
    monkeypatch.setattr("springtide.client.shelf.batch.OIDS_MAX", 3)
    gathered = batch(10, 11)
    gathered.add(A, tid(5), b"x", Known.OPEN)
    for at in range(12, 20):
        if more == "changes":
            gathered.change(Change(tid(at), (B,)))
        else:
            gathered.purge(Purged(at, (B,)))
    assert gathered.oids <= 4

    write(table, gathered)
    kept = table.newest(A, tid(30))
    assert (kept and kept.as_of) == (tid(12) if more == "changes" else None)
    assert (table.state().through, table.state().packs) == ((tid(19), 0) if more == "changes" else (tid(11), 19))


def revisions_of(table, *objects):
    return {(name, at) for name in objects for at in range(1, 20) if table.exactly(name, tid(at)) is not None}


def test_what_had_been_replaced_when_a_pack_ended_leaves_the_shelf(table):
    shelved = batch(10)
    for at, known, ended in ((1, Known.ENDED, 4), (4, Known.ENDED, 9), (9, Known.OPEN, 0)):
        shelved.add(A, tid(at), b"x", known, tid(ended))
    shelved.add(B, tid(5), b"x", Known.OPEN)
    write(table, shelved)
    assert len(revisions_of(table, A, B)) == 4

    packed = batch(10, 12)  # B is replaced by 12, below the point that is packed to, too
    packed.add(A, tid(2), b"x", Known.ENDED, tid(3))
    packed.purge(Purged(1, (), tid(5)))
    write(table, packed)
    assert revisions_of(table, A, B) == {(A, 4), (A, 9), (B, 5)}
    before = table.statistics()["revisions"]

    again = Batch(tid(12), 1)
    again.purge(Purged(2, (), tid(12)))
    write(table, again)
    assert revisions_of(table, A, B) == {(A, 9)}
    assert (before, table.statistics()["revisions"]) == (3, 1)


def test_what_was_replaced_and_packed_before_it_was_written_leaves_the_shelf_too(table):
    shelved = batch(10)
    shelved.add(B, tid(5), b"x", Known.OPEN)
    write(table, shelved)

    both = batch(10, 12)
    both.add(B, tid(12), b"x", Known.OPEN)
    both.purge(Purged(1, (), tid(12)))
    write(table, both)

    assert revisions_of(table, B) == {(B, 12)}


def test_what_waits_to_be_written_is_forgotten_with_what_a_pack_had_replaced():
    waiting = batch(10)
    waiting.add(B, tid(5), b"x" * 50, Known.OPEN)
    waiting.change(Change(tid(12), (B,)))
    waiting.add(B, tid(12), b"y", Known.OPEN)
    size = waiting.bytes
    waiting.purge(Purged(1, (), tid(12)))

    assert [(name, at) for name, at, _ in waiting.items()] == [(B, tid(12))]
    assert waiting.bytes < size - 50
