"""Clients that write down what they do: ``Recorder`` is their file, ``RecordedStorage`` and ``Session`` use the
ordinary API. ``springtide.testing.checkers`` reads what they wrote.
"""

from springtide.testing.recording.final import final_log, read_copy
from springtide.testing.recording.recorder import Recorder, read_history
from springtide.testing.recording.session import Session
from springtide.testing.recording.storage import Notes, RecordedStorage, digest

__all__ = ["Notes", "RecordedStorage", "Recorder", "Session", "digest", "final_log", "read_copy", "read_history"]
