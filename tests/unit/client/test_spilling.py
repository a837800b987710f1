"""A large transaction waits for its vote in a temporary file, and nothing else notices."""

from __future__ import annotations

import errno
import gc
import os
import threading
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transaction.interfaces import TransientError
from ZODB.Connection import TransactionMetaData
from ZODB.POSException import ConflictError, StorageError
from ZODB.utils import z64

from springtide.client import errors, messages
from springtide.client import session as session_module
from springtide.client.session import WAITING_MAX, Purpose, Session
from springtide.client.transaction import Begun, Buffer, Kind, Metadata, Spilled, Write, make_id, voted
from springtide.spool import FileSpool
from springtide.wire.v1 import session_pb2 as wire
from tests.unit.build import tid
from tests.unit.client.words import ROOT, commit, oid
from tests.unit.client.words import voted as voted_on

names = st.integers(0, 5).map(oid)
kinds = st.sampled_from([Kind.STORE, Kind.RESTORE, Kind.CHECK, Kind.DELETE])
writes = st.lists(st.tuples(names, kinds, st.none() | st.binary(max_size=40)), max_size=30)


def filled(buffer: Buffer, wanted) -> Buffer:
    for name, kind, data in wanted:
        buffer.put(Write(name, tid(1), kind, None if kind in (Kind.CHECK, Kind.DELETE) else data))
    return buffer


def begun(buffer: Buffer) -> Begun:
    return Begun(make_id(bytes(16), tid(3)), Metadata(b"u"), buffer)


@given(writes, st.integers(0, 60))
def test_what_is_sent_of_spilled_records_is_what_is_sent_of_others(wanted, spill_bytes):
    plain = begun(filled(Buffer(), wanted))
    spilling = begun(filled(Buffer(spill_bytes=spill_bytes, make_file=FileSpool), wanted))

    for _ in range(2):  # another attempt sends the same again
        assert list(messages.voting(spilling, spilling.buffer.all())) == list(
            messages.voting(plain, plain.buffer.all())
        )
    assert spilling.buffer.data_bytes == plain.buffer.data_bytes
    for name, write in plain.buffer.writes.items():
        assert spilling.buffer.written(name) == write
    held = [w.data for w in spilling.buffer.writes.values() if isinstance(w.data, bytes)]
    assert sum(map(len, held)) <= spill_bytes


def test_a_record_of_several_messages_is_read_a_piece_at_a_time():
    record = os.urandom(3 * messages.CHUNK_BYTES + 17)
    buffer = Buffer(spill_bytes=10, make_file=FileSpool)
    buffer.put(Write(oid(1), tid(1), Kind.STORE, record))
    assert isinstance(buffer.writes[oid(1)].data, Spilled)

    sent = [write.data for message in messages.voting(begun(buffer), buffer.all()) for write in message.stores.writes]

    assert b"".join(sent) == record[: -(len(record) % messages.CHUNK_BYTES)]


def test_a_spilled_record_is_not_what_is_kept_after_the_commit():
    buffer = Buffer(spill_bytes=2, make_file=FileSpool)
    for number, data in ((1, b"123"), (2, b"4")):
        buffer.put(Write(oid(number), tid(1), Kind.STORE, data))
    vote = voted(begun(buffer), 1, {oid(2): b"resolved"})

    assert [vote.data(write) for write in buffer.all()] == [None, b"resolved"]


def test_a_large_transaction_commits_and_its_file_goes(cluster, connect, tmp_path):
    storage = connect(cluster, spill_bytes=1_000, spill_dir=tmp_path)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    for number in range(50):
        storage.store(oid(number), z64, b"%d" % number * 100, "", txn)
    buffer = storage._transactions._in_progress[id(txn)].begun.buffer
    assert isinstance(buffer.writes[oid(7)].data, Spilled)
    gone: list[bool] = []
    weakref.finalize(buffer._file, gone.append, True)
    del buffer
    storage.tpc_vote(txn)
    storage.tpc_finish(txn)
    gc.collect()

    assert gone == [True]
    assert [storage.load(oid(n))[0] for n in range(50)] == [b"%d" % n * 100 for n in range(50)]
    assert list(tmp_path.iterdir()) == []


def test_a_vote_that_is_lost_is_repeated_from_the_file(cluster, connect):
    storage = connect(cluster, spill_bytes=10)
    cluster.drop("vote")

    at = commit(storage, (ROOT, None, b"1" * 100), (oid(5), None, b"5" * 100))

    assert storage.load(ROOT) == (b"1" * 100, at)
    assert cluster.seen.count("vote") == 2


def test_a_conflict_of_a_spilled_record_names_what_was_stored(cluster, connect):
    storage = connect(cluster, spill_bytes=10)
    first = commit(storage, (ROOT, None, b"1" * 100))
    commit(storage, (ROOT, first, b"2" * 100))

    with pytest.raises(ConflictError) as conflict:
        voted_on(storage, (ROOT, first, b"3" * 100))

    assert conflict.value.serials[1] == first


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO])
def test_a_full_disk_here_is_a_storage_error_and_the_next_commit_works(cluster, connect, monkeypatch, number, tmp_path):
    storage = connect(cluster, spill_bytes=1_000, spill_dir=tmp_path)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)

    def full(*_: object) -> int:
        raise OSError(number, "injected")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(errors.SpillFailed, match=f"{tmp_path}.*spill_dir") as failed:
            storage.store(ROOT, z64, bytes(2_000), "", txn)
    assert isinstance(failed.value, StorageError) and not isinstance(failed.value, TransientError)
    storage.tpc_abort(txn)

    at = commit(storage, (ROOT, None, b"x" * 2_000))
    assert storage.load(ROOT) == (b"x" * 2_000, at)


def test_a_file_that_cannot_be_read_at_the_vote_is_a_storage_error(cluster, connect, monkeypatch):
    storage = connect(cluster, spill_bytes=10)
    txn = TransactionMetaData()
    storage.tpc_begin(txn)
    storage.store(ROOT, z64, bytes(2_000), "", txn)

    def fails(*_: object) -> bytes:
        raise OSError(errno.EIO, "injected")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pread", fails)
        with pytest.raises(errors.SpillFailed):
            storage.tpc_vote(txn)
    storage.tpc_abort(txn)
    commit(storage, (ROOT, None, b"x"))


def test_a_large_transaction_that_is_iterated_waits_in_a_file_and_can_be_walked_twice(cluster, connect, tmp_path):
    storage = connect(cluster, spill_bytes=150, spill_dir=tmp_path)
    commit(storage, *[(oid(number), None, b"%03d" % number * 20) for number in range(20)])
    commit(storage, (oid(30), None, b"small"))

    large, small = storage.iterator()

    for _ in range(2):
        assert [(r.oid, r.data) for r in large] == [(oid(n), b"%03d" % n * 20) for n in range(20)]
    assert [(r.oid, r.data) for r in small] == [(oid(30), b"small")]
    assert sum(len(kept.data or b"") for kept, _ in large._records) <= 150
    assert small and large, "transactions are true, as ever"


class Channel:
    """Takes no messages until it is told to."""

    def __init__(self) -> None:
        self.requests = None
        self.ended = threading.Event()

    def stream_stream(self, *_: object, **__: object):
        def start(requests):
            self.requests = requests
            return self

        return start

    def __iter__(self):
        self.ended.wait(10)
        return iter(())

    def cancel(self) -> None:
        self.ended.set()

    close = cancel


class Nobody:
    def __getattr__(self, name: str):
        return lambda *_: None


def test_who_sends_much_waits_until_it_is_taken():
    channel = Channel()
    session = Session("a:1", channel, Purpose.MAIN, Nobody())
    session.start(wire.ClientMessage())
    for _ in range(WAITING_MAX):
        session.tell((wire.ClientMessage(),))

    assert not session.wait_for_room(0.01)
    for _ in range(2):
        next(channel.requests)
    assert session.wait_for_room(0)

    session.tell(wire.ClientMessage() for _ in range(WAITING_MAX))
    threading.Timer(0.05, session.close).start()
    with pytest.raises(session_module.SessionLost):
        session.wait_for_room(10)
