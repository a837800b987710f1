"""Did the cluster keep its promises? Asked of what clients recorded, and of what is there in the end.

Pure: anybody may run these on a history of an own application. ``parse`` reads a history, ``FinalLog`` is what was
committed, ``Copy`` what a node holds; ``check_everything`` puts all questions.
"""

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.appends import check_appends
from springtide.testing.checkers.bank import check_bank
from springtide.testing.checkers.blobs import check_blobs
from springtide.testing.checkers.commits import check_commits, check_errors
from springtide.testing.checkers.copies import Copy, check_copies
from springtide.testing.checkers.cycles import Access, Level, check_cycles
from springtide.testing.checkers.everything import Final, check_everything
from springtide.testing.checkers.history import History, Load, Operation, Outcome, Write, parse
from springtide.testing.checkers.log import FinalLog, Logged
from springtide.testing.checkers.reads import check_reads, check_sessions, check_strict
from springtide.testing.checkers.records import check_record_cycles
from springtide.testing.checkers.updates import check_oids, check_updates

__all__ = [
    "Access",
    "Anomaly",
    "Copy",
    "Final",
    "FinalLog",
    "History",
    "Level",
    "Load",
    "Logged",
    "Operation",
    "Outcome",
    "Write",
    "check_appends",
    "check_bank",
    "check_blobs",
    "check_commits",
    "check_copies",
    "check_cycles",
    "check_errors",
    "check_everything",
    "check_oids",
    "check_reads",
    "check_record_cycles",
    "check_sessions",
    "check_strict",
    "check_updates",
    "parse",
]
