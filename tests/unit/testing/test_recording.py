"""What a client did is written down as it happened, whatever became of it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from persistent import Persistent
from ZODB.POSException import ConflictError, POSError

from springtide.client.errors import CommitOutcomeUnknown
from springtide.records.ids import Tid, TransactionId, oid, tid
from springtide.testing.checkers import History, Outcome
from springtide.testing.recording import Recorder, Session, read_history


class Manager:
    """In the place of a transaction manager: commits as the storage below does."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    def begin(self) -> Manager:
        return self

    def note(self, text: str) -> None:
        self._storage.description = text

    def commit(self) -> None:
        self._storage.commit()

    def abort(self) -> None:
        pass


class Storage:
    """In the place of a recorded storage."""

    def __init__(self, recorder: Recorder, raises: Exception | None = None, outcome: Tid | None = None) -> None:
        self._recorder, self._raises, self._outcome = recorder, raises, outcome
        self.notes: Any = None
        self.told = 0

    def tell(self) -> None:
        self.told += 1

    def commit(self) -> None:
        if self._raises is not None:
            raise self._raises
        self.notes.tid = 7

    def outcome(self, transaction_id: TransactionId) -> Tid | None:
        return self._outcome


class Database:
    def open(self, manager: Any) -> Any:
        return self


def attempt(tmp_path: Path, raises: Exception | None = None, outcome: Tid | None = None) -> tuple[Outcome, History]:
    recorder = Recorder(tmp_path / "history", "client")
    storage: Any = Storage(recorder, raises, outcome)
    session = Session(Database(), storage, recorder, "0", strict=False)
    session._manager = Manager(storage)
    ended = session.attempt(lambda _: {})
    recorder.close()
    assert storage.notes is None and storage.description == "client/0/1"
    return ended, read_history([tmp_path / "history"])


def test_a_commit_is_ok_with_its_tid(tmp_path: Path) -> None:
    ended, history = attempt(tmp_path)

    (operation,) = history.operations
    assert (ended, operation.outcome, operation.tid) == (Outcome.OK, Outcome.OK, 7)
    assert operation.ended is not None and operation.invoked <= operation.ended


def test_a_conflict_is_a_failure(tmp_path: Path) -> None:
    ended, history = attempt(tmp_path, ConflictError("c"))

    assert (ended, history.operations[0].outcome, history.wrong) == (Outcome.FAIL, Outcome.FAIL, ())


@pytest.mark.parametrize(("answer", "settled"), [(None, 0), (tid(9), 9)])
def test_an_unknown_outcome_is_asked_for(tmp_path: Path, answer: Tid | None, settled: int) -> None:
    unknown = CommitOutcomeUnknown("who knows", TransactionId(bytes(24)), 1)

    ended, history = attempt(tmp_path, unknown, answer)

    (operation,) = history.operations
    assert (ended, operation.outcome, operation.settled) == (Outcome.UNKNOWN, Outcome.UNKNOWN, settled)


@pytest.mark.parametrize("error", [KeyError("k"), POSError("p")])
def test_an_error_that_nobody_announces_is_wrong_and_its_outcome_unknown(tmp_path: Path, error: Exception) -> None:
    ended, history = attempt(tmp_path, error)

    assert ended is Outcome.UNKNOWN
    assert len(history.wrong) == 1 and type(error).__name__ in history.wrong[0]


def test_what_is_read_is_noted_with_its_revision(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "history", "client")
    storage: Any = Storage(recorder)
    session = Session(Database(), storage, recorder, "0", strict=False)
    thing = Persistent()
    thing._p_jar, thing._p_oid, thing._p_serial = _Jar(), oid(3), tid(5)
    seen: list[dict[int, int]] = []

    def work(session: Session) -> dict[str, Any]:
        session.read(thing)
        seen.append(storage.notes.reads)
        return {}

    session._manager = Manager(storage)
    session.attempt(work)

    assert seen == [{3: 5}]


class _Jar:
    def setstate(self, thing: Persistent) -> None:
        pass

    def register(self, thing: Persistent) -> None:
        pass
