"""Whatever is stored, deleted and undone: FileStorage and a cluster refuse the same undos, and end up with the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import POSKeyError, UndoError
from ZODB.tests.ConflictResolution import PCounter
from ZODB.tests.StorageTestBase import zodb_pickle

from springtide.client.storage import ClusterStorage
from tests.unit.client.fake_node import FakeCluster
from tests.unit.client.words import oid


def counter(value: int) -> bytes:
    made = PCounter()
    made._value = value
    return zodb_pickle(made)


#: Records that can be merged, and one that cannot be.
RECORDS = (counter(0), counter(1), counter(5), zodb_pickle(ValueError("no conflicts resolved here")))
NAMES = (oid(1), oid(2))

changes = st.dictionaries(st.sampled_from(NAMES), st.sampled_from([*RECORDS, None]), min_size=1)
#: How far back in the undo log; two are undone in one transaction.
undos = st.lists(st.integers(0, 5), min_size=1, max_size=2, unique=True)
stories = st.lists(st.one_of(changes, undos), min_size=2, max_size=9)


class Subject:
    """One of the storages that should do the same."""

    def __init__(self, storage) -> None:
        self.storage = storage
        self.serials: dict[bytes, bytes] = {}

    def lives(self, name: bytes) -> bool:
        try:
            return bool(self.storage.load(name))  # getTid of FileStorage knows objects that it cannot load
        except POSKeyError:
            return False

    def change(self, wanted: dict[bytes, bytes | None]) -> None:
        wanted = {name: data for name, data in wanted.items() if data is not None or self.lives(name)}
        if not wanted:
            return

        def write(txn):
            for name, data in wanted.items():
                if data is not None:
                    self.storage.store(name, self.serials.get(name, bytes(8)), data, "", txn)
                else:
                    self.storage.deleteObject(name, self.serials[name], txn)
            return list(wanted)

        self._commit(write)

    def undo(self, places: list[int]) -> bool:
        """Whether it was possible."""
        log = self.storage.undoLog(0, 100)
        ids = [log[place % len(log)]["id"] for place in places] if log else []
        if not ids:  # FileStorage keeps transactions that say nothing, and a cluster does not
            return True
        try:
            self._commit(lambda txn: [name for id_ in ids for name in self.storage.undo(id_, txn)[1]])
        except UndoError:
            return False
        return True

    def _commit(self, write) -> None:
        txn = TransactionMetaData()
        self.storage.tpc_begin(txn)
        try:
            names = write(txn)
            self.storage.tpc_vote(txn)
            tid = self.storage.tpc_finish(txn)
        except BaseException:
            self.storage.tpc_abort(txn)
            raise
        self.serials.update(dict.fromkeys(names, tid))

    def state(self) -> list[bytes | None]:
        return [self.storage.load(name)[0] if self.lives(name) else None for name in NAMES]


@pytest.mark.slow
@settings(max_examples=100)
@given(stories)
def test_undo_does_what_filestorage_does(story):
    cluster = FakeCluster(1)
    storage = ClusterStorage(cluster.addresses, timeout=30, finish_timeout=30)
    with tempfile.TemporaryDirectory() as directory:
        peer = FileStorage(str(Path(directory) / "peer.fs"))
        ours, theirs = Subject(storage), Subject(peer)
        try:
            for step in story:
                if isinstance(step, dict):
                    ours.change(step)
                    theirs.change(step)
                else:
                    assert ours.undo(step) == theirs.undo(step), step
                assert ours.state() == theirs.state()
        finally:
            storage.close()
            cluster.close()
            peer.close()
