"""One client of a cluster under test, in a process of its own: commits until told to stop, and writes down what it saw.

    python client_process.py ADDRESSES NUMBER HISTORY-FILE HOLD-FILE

Ends when its standard input does. The history has one JSON line for each event:
``{"event": "committed", "entry", "began", "ended"}``, ``"retried"`` with the error,
``"failed"`` with the error and the call it came out of. Times are of the machine's
monotonic clock. While the hold file exists, a transaction waits between its vote and its
finish, and says ``"held"``.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path
from typing import Any

import transaction
import ZODB
from BTrees.IOBTree import IOBTree
from BTrees.Length import Length
from persistent.mapping import PersistentMapping
from transaction.interfaces import TransientError

import springtide


def set_up(storage: Any, clients: int) -> None:
    db = ZODB.DB(storage)
    with db.transaction() as connection:
        root = connection.root()
        root["total"] = Length()
        root["journals"] = PersistentMapping(
            {str(n): PersistentMapping(count=0, entries=IOBTree()) for n in range(clients)}
        )
    db.close()


class Client:
    def __init__(self, addresses: list[str], number: str, history: Path, hold: Path) -> None:
        self.number = number
        self.hold = hold
        self.calls: list[str] = []
        self._history = history.open("a", buffering=1)
        self.stopping = threading.Event()
        storage = springtide.ClusterStorage(addresses)
        self._finish = storage.tpc_finish
        storage.tpc_finish = self._held_finish
        self.db = ZODB.DB(storage)

    def write(self, event: str, **what: object) -> None:
        self._history.write(json.dumps({"event": event, "at": time.monotonic(), **what}) + "\n")

    def _held_finish(self, *arguments: Any) -> Any:
        if self.hold.exists():
            self.write("held")
            while self.hold.exists():
                time.sleep(0.005)
        try:
            return self._finish(*arguments)
        except BaseException as error:
            self.write("failed", call="tpc_finish", error=f"{type(error).__name__}: {error}")
            raise

    def run(self) -> None:
        manager = transaction.TransactionManager(explicit=True)
        connection = self.db.open(manager)
        entry = 0
        self.write("ready")
        while not self.stopping.is_set():
            began = time.monotonic()
            try:
                manager.begin()
                root = connection.root()
                journal = root["journals"][self.number]
                journal["count"] += 1
                journal["entries"][entry] = entry
                root["total"].change(1)  # everybody's, and it resolves its conflicts
                manager.commit()
            except TransientError as error:
                self.write("retried", error=f"{type(error).__name__}: {error}")
                manager.abort()
            except Exception as error:
                self.write("failed", call="other", error=f"{type(error).__name__}: {error}")
                manager.abort()
                return
            else:
                self.write("committed", entry=entry, began=began, ended=time.monotonic())
                entry += 1
        connection.close()
        self.db.close()


def main() -> None:
    addresses, number, history, hold = sys.argv[1:]
    client = Client(addresses.split(","), number, Path(history), Path(hold))
    worker = threading.Thread(target=client.run)
    worker.start()
    sys.stdin.read()
    client.stopping.set()
    worker.join()


if __name__ == "__main__":
    main()
