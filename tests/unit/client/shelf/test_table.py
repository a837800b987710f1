"""What a process brings late, or after a gap, counts no further than that process knew."""

from __future__ import annotations

import lmdb
import pytest

from springtide.client.shelf.batch import Batch
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
        made.change(tid(at), (B,))
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
    knowing.purge(1, (A,))
    write(table, knowing)
    late = batch(10)
    late.add(A, tid(5), b"x", Known.OPEN)
    write(table, late)

    assert table.newest(A, tid(20)) is None


def test_what_waits_is_bounded_where_changes_are_skipped():
    gathered = batch(10, 11)
    gathered.add(A, tid(5), b"x", Known.OPEN)
    gathered.skip(tid(15))

    ((_, _, item),) = gathered.items()
    assert (item.known, item.at, gathered.since) == (Known.BOUNDED, tid(11), tid(15))
