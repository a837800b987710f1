"""What a pack takes away, compared with what FileStorage's pack takes away from the same history."""

from __future__ import annotations

import io
import pickle
import tempfile
import zlib
from base64 import encodebytes
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import assume, event, given, settings
from hypothesis import strategies as st
from persistent.TimeStamp import TimeStamp
from ZODB.Connection import TransactionMetaData
from ZODB.FileStorage import FileStorage
from ZODB.FileStorage.fspack import PackError
from ZODB.POSException import UndoError
from ZODB.serialize import referencesf
from ZODB.tests.MinPO import MinPO

from springtide import errors
from springtide.engine.classes import class_of
from springtide.engine.marking import Marking
from springtide.engine.references import Unreadable, references_of, scan
from springtide.records.entries import Write
from springtide.records.ids import OID_ZERO, Oid, Tid, oid, tid
from springtide.records.packs import PackBegin


class Reference:
    def __init__(self, name):
        self.name = name


class Pickler(pickle.Pickler):
    def persistent_id(self, given):
        return given.name if isinstance(given, Reference) else None


def record(*names: int, note: object = None) -> bytes:
    written = io.BytesIO()
    Pickler(written, 3).dump((MinPO, None))
    Pickler(written, 3).dump(([Reference(oid(n)) for n in names], note))
    return written.getvalue()


class History:
    """A ``Source`` in memory."""

    def __init__(self, writes: list[tuple[Tid, Write]]) -> None:
        self.all = {(write.oid, at): write for at, write in writes}
        self._transactions: dict[Tid, list[Oid]] = {}
        for at, write in writes:
            self._transactions.setdefault(at, []).append(write.oid)

    def transactions(self, after: Tid, through: Tid) -> Iterator[tuple[Tid, list[Oid]]]:
        return iter([(at, oids) for at, oids in sorted(self._transactions.items()) if after < at <= through])

    def write(self, oid: Oid, tid: Tid) -> Write | None:
        return self.all.get((oid, tid))

    def tids(self, oid: Oid) -> list[Tid]:
        return sorted((at for name, at in self.all if name == oid), reverse=True)

    def current(self, oid: Oid, through: Tid) -> tuple[Tid, bool] | None:
        newest = next((at for at in self.tids(oid) if at <= through), None)
        return None if newest is None else (newest, self.all[oid, newest].data is not None)

    def oldest(self) -> Iterator[tuple[Oid, Tid]]:
        return iter([(name, self.tids(name)[-1]) for name in sorted({name for name, _ in self.all})])


def kept_by(history: History, pack: PackBegin) -> set[tuple[Oid, Tid]]:
    marking = Marking(history, pack, references_of, class_of=class_of)
    marking.mark()
    former, gone = tid(0), set()
    for at, oids in marking.removals():
        assert former < at <= pack.tid
        former = at
        gone |= {(name, at) for name in oids}
    kept = history.all.keys() - gone
    doomed = {oid(n) for n in marking.doomed()}
    assert doomed.isdisjoint(name for name, at in kept - marking.repeated if at <= pack.tid)
    return kept


def test_what_an_interrupted_pack_took_and_its_transaction_still_names_goes_again():
    history = History(
        [(tid(1), Write(OID_ZERO, record())), (tid(1), Write(oid(1), record())), (tid(1), Write(oid(2), record()))]
    )
    del history.all[oid(1), tid(1)]
    marking = Marking(history, PackBegin(tid(1), True), references_of)

    marking.mark()

    assert list(marking.removals()) == [(tid(1), (oid(1), oid(2)))]


class Longer(MinPO):
    pass


def of_class(*names: int, of: type = Longer) -> bytes:
    written = io.BytesIO()
    Pickler(written, 3).dump((of, None))
    Pickler(written, 3).dump([Reference(oid(n)) for n in names])
    return written.getvalue()


LONGER = f"{__name__}.Longer"


def test_of_objects_of_a_class_longer_history_stays_and_what_it_refers_to():
    history = History(
        [
            (tid(1), Write(OID_ZERO, record(1, 2, 3))),
            *((tid(at), Write(oid(1), of_class(*refers))) for at, refers in ((2, ()), (4, (3,)), (6, ()))),
            *((tid(at), Write(oid(2), record(note=at))) for at in (2, 4, 6)),
            (tid(3), Write(oid(3), of_class())),
            (tid(7), Write(OID_ZERO, record(1, 2))),
        ]
    )
    pack = PackBegin(tid(9), True, 1, ((LONGER, tid(5)),))

    kept = kept_by(history, pack)

    assert kept == {(OID_ZERO, tid(7)), (oid(1), tid(4)), (oid(1), tid(6)), (oid(2), tid(6)), (oid(3), tid(3))}
    assert kept_by(history, PackBegin(tid(9), True)) == kept - {(oid(1), tid(4)), (oid(3), tid(3))}
    assert kept_by(history, PackBegin(tid(9), False, 1, ((LONGER, tid(1)),))) == kept | {(oid(1), tid(2))}
    assert kept_by(history, PackBegin(tid(9), True, 1, (("other.Class", tid(1)),))) == kept_by(
        history, PackBegin(tid(9), True)
    )


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (of_class(), LONGER),
        (b".z" + zlib.compress(of_class()), LONGER),
        (pickle.dumps((Longer, (1, 2)), 3), LONGER),  # of a class that wants arguments
        (pickle.dumps((("a.module", "Class"), None), 3), "a.module.Class"),
        (pickle.dumps((Longer, None), 4), LONGER),
        (b"encrypted", None),
        (b"", None),
        (b".z?", None),
        (pickle.dumps(list(range(100)), 3), None),
    ],
)
def test_the_class_is_read_off_the_pickle(data, expected):
    assert class_of(data) == expected


# -- the same history in a FileStorage -----------------------------------------------------------


def time_of(step: int) -> TimeStamp:
    return TimeStamp(2020, 1, 1, 0, step, 0)


class Copy:
    """A FileStorage to which a history is written, and from which it is read."""

    def __init__(self, directory: str) -> None:
        self.storage = FileStorage(str(Path(directory) / "Data.fs"))
        self.step = 0

    def commit(self, do) -> None:
        self.step += 1
        t = TransactionMetaData()
        self.storage.tpc_begin(t, time_of(self.step).raw())
        try:
            do(t)
            self.storage.tpc_vote(t)
        except (UndoError, KeyError):
            self.storage.tpc_abort(t)
        else:
            self.storage.tpc_finish(t)

    def store(self, name: int, names: list[int]) -> None:
        self.commit(lambda t: self.storage.store(oid(name), self.serial(name), record(*names, note=self.step), "", t))

    def delete(self, name: int) -> None:
        self.commit(lambda t: self.storage.deleteObject(oid(name), self.serial(name), t))

    def undo(self, step: int) -> None:
        self.commit(lambda t: self.storage.undo(encodebytes(time_of(step).raw()).rstrip(), t))

    def serial(self, name: int) -> Tid:
        return max((Tid(t.tid) for t in self.storage.iterator() for r in t if r.oid == oid(name)), default=tid(0))

    def history(self) -> History:
        return History(
            [
                (Tid(t.tid), Write(Oid(r.oid), r.data, Tid(r.data_txn) if r.data_txn else None))
                for t in self.storage.iterator()
                for r in t
            ]
        )

    def pack(self, step: int, gc: bool) -> None:
        self.storage.pack(time_of(step).timeTime() + 30, referencesf, gc=gc)


FIRST = [("store", n, [1, 2] if n == 0 else []) for n in range(5)]
NAMES = st.integers(0, 5)
STORE = st.tuples(st.just("store"), NAMES, st.lists(NAMES, max_size=3))
DELETE = st.tuples(st.just("delete"), st.integers(1, 5))
UNDO = st.tuples(st.just("undo"), st.integers(5, 16))
HISTORY = st.lists(st.one_of(STORE, STORE, STORE, DELETE, UNDO), max_size=14)


def of_records(found: set[tuple[Oid, Tid]], history: History) -> set[tuple[Oid, Tid]]:
    """FileStorage keeps a note of some objects that do not exist, in histories of undone undos."""
    return {(name, at) for name, at in found if history.all[name, at].data is not None or at > history.pack_tid}


def later_needs(history: History, pack: Tid) -> set[Oid]:
    """What records after the pack refer to, and what that refers to as of the pack."""
    todo = [name for (_, at), write in history.all.items() if at > pack for name in references_of(write)]
    found: set[Oid] = set()
    while todo:
        name = todo.pop()
        current = history.current(name, pack)
        if name not in found and current is not None:
            found.add(name)
            todo += references_of(history.all[name, current[0]])
    return found


@settings(max_examples=60, deadline=None)
@given(HISTORY, st.integers(4, 19), st.booleans())
def test_what_stays_is_what_filestorage_keeps_and_what_later_records_need(steps, at, gc):
    with tempfile.TemporaryDirectory() as directory:
        copy = Copy(directory)
        for kind, *arguments in [*FIRST, *steps]:
            getattr(copy, kind)(*arguments)
        history = copy.history()
        pack = PackBegin(Tid(TimeStamp(2020, 1, 1, 0, at, 30).raw()), gc)
        history.pack_tid = pack.tid
        try:
            copy.pack(at, gc)
        except (KeyError, PackError):  # it does not pack where references dangle, or where what is repeated was deleted
            copy.storage.close()
            assume(False)
        theirs = of_records(set(copy.history().all), history)
        copy.storage.close()

    ours = of_records(kept_by(history, pack), history)

    assert theirs <= ours
    more = ours - theirs
    event(f"gc {gc}, more than FileStorage: {bool(more)}, removed: {len(ours) < len(history.all)}")
    needed = later_needs(history, pack.tid) if gc else set()
    assert {name for name, _ in more} <= needed
    assert all(history.current(name, pack.tid)[0] == at for name, at in more)


@settings(max_examples=60, deadline=None)
@given(HISTORY, st.integers(4, 19))
def test_nothing_that_stays_refers_to_what_goes(steps, at):
    with tempfile.TemporaryDirectory() as directory:
        copy = Copy(directory)
        for kind, *arguments in [*FIRST, *steps]:
            getattr(copy, kind)(*arguments)
        history = copy.history()
        copy.storage.close()
    pack = PackBegin(Tid(TimeStamp(2020, 1, 1, 0, at, 30).raw()), True)

    kept = kept_by(history, pack)

    for key in kept:
        write = history.all[key]
        if key[1] < (history.current(key[0], pack.tid) or (tid(0),))[0]:
            continue  # an old revision, of which only the record is kept, for one that repeats it
        for name in references_of(write):
            current = history.current(name, pack.tid)
            assert current is None or not current[1] or (name, current[0]) in kept


# -- what FileStorage does not have ----------------------------------------------------------------


def history_of(*transactions: dict[int, bytes | None]) -> History:
    return History(
        [
            (tid(at), Write(oid(name), data))
            for at, writes in enumerate(transactions, 1)
            for name, data in writes.items()
        ]
    )


def test_the_newest_revisions_of_each_object_can_be_kept():
    root = record(1)
    history = history_of({0: root, 1: b"a"}, {1: b"b"}, {1: record(2), 2: record()}, {1: record()}, {1: record()})

    kept = kept_by(history, PackBegin(tid(4), True, keep_revisions=3))

    assert kept == {(OID_ZERO, tid(1)), *((oid(1), tid(n)) for n in (3, 4, 5)), (oid(2), tid(3))}


def test_of_a_deleted_object_nothing_is_kept():
    history = history_of({0: record(), 1: record()}, {1: record()}, {1: None})

    assert kept_by(history, PackBegin(tid(3), False, keep_revisions=9)) == {(OID_ZERO, tid(1))}


def test_a_transaction_that_wrote_nothing_goes_whole():
    history = history_of({0: record()})
    history._transactions[tid(2)] = []

    assert list(Marking(history, PackBegin(tid(3), False), references_of).removals()) == [(tid(2), ())]


def test_garbage_is_named_before_it_goes():
    history = history_of({0: record(1), 1: record(), 2: record(3), 3: record(2)}, {4: record()})
    marking = Marking(history, PackBegin(tid(1), True), references_of)
    marking.mark()

    assert list(marking.doomed()) == [2, 3]
    marking.spare([oid(3)])
    assert list(marking.doomed()) == []
    assert list(marking.removals()) == []


def test_a_record_that_cannot_be_read_stops_a_pack_before_anything_goes_and_is_named():
    history = history_of({0: record(7)}, {7: b"encrypted"})

    with pytest.raises(errors.PackRefused, match=oid(7).hex()):
        Marking(history, PackBegin(tid(2), True), references_of).mark()
    Marking(history, PackBegin(tid(2), False), references_of).mark()


def test_whoever_can_read_them_is_asked_what_records_refer_to():
    history = history_of({0: b"root", 1: b"one", 2: b"two", 3: record()})
    said = {b"root": [oid(1), oid(3)], b"one": [oid(0)]}
    asked = []

    def ask(records):
        asked.extend(records)
        return [said[data] for _, data in records]

    marking = Marking(history, PackBegin(tid(1), True), references_of, ask)
    marking.mark()

    assert asked == [(oid(0), b"root"), (oid(1), b"one")]
    assert list(marking.removals()) == [(tid(1), (oid(2),))]


def test_a_database_without_a_root_is_not_taken_for_garbage():
    history = history_of({1: record()})

    with pytest.raises(errors.PackRefused, match="no root"):
        Marking(history, PackBegin(tid(1), True), references_of).mark()


@pytest.mark.parametrize("history", [history_of(), history_of({0: None}), history_of({1: record()}, {1: None})])
def test_where_nothing_exists_nothing_is_refused(history):
    Marking(history, PackBegin(tid(2), True), references_of).mark()


# -- references ------------------------------------------------------------------------------------


def test_references_are_those_that_the_client_said_or_those_that_zodb_finds():
    assert references_of(Write(oid(1), b"hidden", references=oid(7) + oid(8))) == [oid(7), oid(8)]
    assert references_of(Write(oid(1), b"hidden", references=b"")) == []
    assert references_of(Write(oid(1), record(3, 4))) == [oid(3), oid(4)]
    assert references_of(Write(oid(1), None)) == []


def test_records_of_zlibstorage_are_unpacked():
    assert scan(b".z" + zlib.compress(record(5))) == [oid(5)]


@pytest.mark.parametrize(
    "data", [b"", b".h" + record(1).hex().encode(), b".e" + bytes(40), b".zbroken", record(1)[:-3]]
)
def test_what_is_no_record_of_zodb_is_not_guessed_at(data):
    with pytest.raises(Unreadable):
        scan(data)
