"""One client process: runs workloads in several threads until its standard input ends."""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
from pathlib import Path
from random import Random
from typing import Any

import ZODB

from springtide.testing.recording.recorder import Recorder
from springtide.testing.recording.session import Session
from springtide.testing.recording.storage import RecordedStorage
from springtide.testing.workloads.all import WORKLOADS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m springtide.testing.workloads", description=__doc__)
    parser.add_argument("--nodes", required=True, help="addresses, with commas")
    parser.add_argument("--history", type=Path, required=True, help="the file to write down what happens")
    parser.add_argument("--number", type=int, required=True, help="of this process; no other has it")
    parser.add_argument("--workloads", default=",".join(WORKLOADS))
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--sync", default="session", choices=("session", "latest", "strict"))
    parser.add_argument("--seed", type=int, default=0)
    told = parser.parse_args()
    recorder = Recorder(told.history, f"client-{told.number}")
    stopping = threading.Event()
    with tempfile.TemporaryDirectory(prefix="springtide-client-") as blob_dir:
        workloads = told.workloads.split(",")
        options: dict[str, Any] = {"blob_dir": blob_dir} if "blob" in workloads else {}
        storage = RecordedStorage(told.nodes, recorder, sync=told.sync, **options)
        db = ZODB.DB(storage)
        threads = [
            threading.Thread(target=_run, args=(db, storage, recorder, told, thread, workloads, stopping))
            for thread in range(told.threads)
        ]
        for thread in threads:
            thread.start()
        sys.stdin.read()
        stopping.set()
        for thread in threads:
            thread.join()
        db.close()


def _run(
    db: Any,
    storage: RecordedStorage,
    recorder: Recorder,
    told: argparse.Namespace,
    thread: int,
    names: list[str],
    stopping: threading.Event,
) -> None:
    number = told.number * told.threads + thread
    chance = Random(f"{told.seed}/{number}")
    session = Session(db, storage, recorder, str(thread), told.sync == "strict")
    workloads = [WORKLOADS[name](number, chance) for name in names]
    while not stopping.is_set():
        session.attempt(chance.choice(workloads).attempt)
    session.close()


if __name__ == "__main__":
    main()
