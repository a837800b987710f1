"""ZODB's own suite for storages with blobs, case by case, for pytest."""

from __future__ import annotations

import unittest
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from ZODB.tests import testblob
from zope.testing import setupstack

from tests.privileges import heeding_file_modes

Factory = Callable[[str, str], Any]


def cases(prefix: str, factory: Factory, **wanted: bool) -> list[Any]:
    """The cases of ``storage_reusable_suite``, as parameters.

    Its layer, which fakes the clock of this process, is left out: the clocks of nodes go on, and where the
    suite needs a later moment it waits for one.
    """
    suite = testblob.storage_reusable_suite(prefix, factory, **wanted)
    return [pytest.param(case, id=_name(case)) for case in _flat(suite)]


def run(case: unittest.TestCase) -> None:
    """Run one case, and fail as it fails."""
    global _running
    _running = getattr(case, "_dt_test", case)  # what ZODB registers cleaning up with
    result = unittest.TestResult()
    with heeding_file_modes():
        case.run(result)
    assert result.testsRun == 1
    problems = [text for _, text in (*result.failures, *result.errors, *result.skipped)]
    assert not problems, "\n".join(problems)


def before_cleaning_up(function: Callable[..., object], *arguments: object) -> None:
    """Called at the end of the running case, before ZODB removes its directory."""
    setupstack.register(_running, function, *arguments)


_running: Any = None


def _name(case: unittest.TestCase) -> str:
    return case.id().rpartition("/")[2].rpartition("testblob.")[2]


def _flat(suite: unittest.TestSuite) -> Iterator[Any]:
    for each in suite:
        if isinstance(each, unittest.TestSuite):
            yield from _flat(each)
        else:
            yield each
