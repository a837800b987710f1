"""One connection, used by one thread: runs attempts of transactions, and writes down what became of them."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import transaction
from persistent import Persistent
from transaction.interfaces import TransientError
from ZODB.POSException import POSError

from springtide.client.errors import ClusterOutOfSpace, CommitOutcomeUnknown, NotCommitted
from springtide.records.ids import number
from springtide.testing.checkers.history import Outcome
from springtide.testing.recording.recorder import Recorder
from springtide.testing.recording.storage import Notes, RecordedStorage


class Session:
    """``work`` of an attempt reads with ``read``, so that it is known what it saw."""

    def __init__(self, db: Any, storage: RecordedStorage, recorder: Recorder, name: str, strict: bool) -> None:
        self._storage = storage
        self._recorder = recorder
        self.name = f"{recorder.client}/{name}"
        self._strict = strict
        self._manager = transaction.TransactionManager(explicit=True)
        self._connection = db.open(self._manager)
        self._attempts = 0

    @property
    def root(self) -> Any:
        return self._connection.root()

    def read(self, thing: Persistent) -> Any:
        """``thing``, as the snapshot has it. Called before it is changed."""
        thing._p_activate()
        notes = self._storage.notes
        if notes is not None and thing._p_oid is not None and not thing._p_changed:
            notes.reads[number(thing._p_oid)] = number(thing._p_serial)
        return thing

    def check(self, thing: Persistent) -> None:
        """What was read of ``thing`` must be so when the transaction commits."""
        self._connection.readCurrent(thing)

    def resolves(self, thing: Persistent) -> None:
        """The class of ``thing`` resolves conflicts."""
        notes = self._storage.notes
        if notes is not None and thing._p_oid is not None:
            notes.resolvable.add(number(thing._p_oid))

    def attempt(self, work: Callable[[Session], dict[str, Any]]) -> Outcome:
        """One transaction, tried once. Raises nothing; what nobody documents is written down as wrong."""
        self._attempts += 1
        name = f"{self.name}/{self._attempts}"
        invoked = {"id": name, "client": self._recorder.client, "session": self.name, "strict": self._strict}
        notes = self._storage.notes = Notes(name)
        self._recorder.write("invoke", **invoked)
        try:
            self._manager.begin().note(name)
            notes.work = work(self)
            self._manager.commit()
            return self._end(Outcome.OK, **({} if notes.tid is None else {"tid": notes.tid}))
        except (TransientError, NotCommitted, ClusterOutOfSpace) as error:
            return self._end(Outcome.FAIL, error=_said(error))
        except CommitOutcomeUnknown as error:
            outcome = self._end(Outcome.UNKNOWN, error=_said(error))
            self._ask(name, error)
            return outcome
        except Exception as error:
            self._recorder.write("wrong", error=f"{name}: {_said(error)}")
            return self._end(Outcome.UNKNOWN, error=_said(error))
        finally:
            self._storage.notes = None
            with contextlib.suppress(transaction.interfaces.NoTransaction):
                self._manager.abort()

    def close(self) -> None:
        self._connection.close()

    def _end(self, outcome: Outcome, **fields: Any) -> Outcome:
        self._storage.tell()
        assert self._storage.notes is not None, "an attempt runs"
        self._recorder.write(outcome.value, id=self._storage.notes.id, **fields)
        return outcome

    def _ask(self, name: str, unknown: CommitOutcomeUnknown) -> None:
        with contextlib.suppress(POSError):
            tid = self._storage.outcome(unknown.transaction_id)
            self._recorder.write("settled", id=name, **({} if tid is None else {"tid": number(tid)}))


def _said(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"
