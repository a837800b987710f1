"""Whatever is stored, deleted and undone: FileStorage and a cluster refuse the same undos, and end up with the same."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.POSException import ConflictError, POSKeyError, UndoError
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
#: Both in one transaction, in this order or the other; ``stale``: what is stored is based on the revision before.
mixtures = st.tuples(changes, undos, st.booleans(), st.booleans())
stories = st.lists(st.one_of(changes, undos, mixtures), min_size=2, max_size=9)


class Subject:
    """One of the storages that should do the same."""

    def __init__(self, storage) -> None:
        self.storage = storage
        self.serials: dict[bytes, list[bytes]] = {}

    def lives(self, name: bytes) -> bool:
        try:
            return bool(self.storage.load(name))  # getTid of FileStorage knows objects that it cannot load
        except POSKeyError:
            return False

    def perform(self, step) -> bool:
        """Whether it was possible."""
        match step:
            case dict():
                works = [self.changing(step)]
            case list():
                works = [self.undoing(step)]
            case changed, undone, undo_first, stale:
                works = [self.changing(changed, stale), self.undoing(undone)]
                if undo_first:
                    works.reverse()
        return self._commit(*works)

    def changing(self, wanted: dict[bytes, bytes | None], stale: bool = False):
        wanted = {name: data for name, data in wanted.items() if data is not None or self.lives(name)}

        def write(txn):
            for name, data in wanted.items():
                known = self.serials.get(name, [])
                serial = known[-2] if stale and len(known) > 1 else known[-1] if known else bytes(8)
                if data is not None:
                    self.storage.store(name, serial, data, "", txn)
                else:
                    self.storage.deleteObject(name, serial, txn)
            return list(wanted)

        return write

    def undoing(self, places: list[int]):
        log = self.storage.undoLog(0, 100)
        ids = [log[place % len(log)]["id"] for place in places] if log else []
        return lambda txn: [name for id_ in ids for name in self.storage.undo(id_, txn)[1]]

    def _commit(self, *works) -> bool:
        txn = TransactionMetaData()
        self.storage.tpc_begin(txn)
        try:
            names = {name for work in works for name in work(txn)}
            self.storage.tpc_vote(txn)
            tid = self.storage.tpc_finish(txn)
        except (UndoError, ConflictError):
            self.storage.tpc_abort(txn)
            return False
        except BaseException:
            self.storage.tpc_abort(txn)
            raise
        for name in names:
            self.serials.setdefault(name, []).append(tid)
        return True

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
            # FileStorage looks for none that begin in its first 39 bytes: an empty one would be short enough.
            for step in ({NAMES[0]: RECORDS[0]}, *story):
                assert ours.perform(step) == theirs.perform(step), step
                assert ours.state() == theirs.state()
                assert len(ours.storage.undoLog(0, 100)) == len(theirs.storage.undoLog(0, 100))
        finally:
            storage.close()
            cluster.close()
            peer.close()
