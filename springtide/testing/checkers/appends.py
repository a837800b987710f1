"""Lists to which numbers are appended: the order of versions is found in what was read, whatever tids say.

Pure. After Elle: every number is appended once, so a list that was read tells which appends came before, and in which
order.
An operation notes as its work ``{"kind": "append", "reads": {list: [numbers, before its own appends]},
"appends": [[list, number], ...], "covered": [lists], "merged": [lists]}``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.cycles import Access, Level, check_cycles
from springtide.testing.checkers.history import History, Operation, Outcome

KIND = "append"


@dataclass(frozen=True, slots=True)
class Lists:
    """What the history says about the lists: the longest reading of each, and who appended what."""

    order: Mapping[str, Sequence[int]]
    appended: Mapping[int, Operation]


def check_appends(
    history: History, final: Mapping[str, Sequence[int]] | None = None, level: Level = Level.SNAPSHOT
) -> list[Anomaly]:
    """``final`` is how the lists were read in the end, by a strict client, if they were."""
    operations = history.of(KIND)
    lists = _lists(operations, final or {})
    found = [*_order(operations, lists, final or {}), *_contents(operations, lists)]
    if final is not None:
        found += _lost(operations, final)
    return found + check_cycles(list(accesses(operations, lists)), level)


def accesses(operations: Iterable[Operation], lists: Lists) -> Iterator[Access]:
    """Versions are lengths: version n of a list is that with its first n transactions' numbers."""
    versions = {name: _versions(order, lists.appended) for name, order in lists.order.items()}
    for operation in operations:
        work = operation.work
        reads: dict[object, int] = {}
        for name, values in work["reads"].items():
            if not values:
                reads[name] = 0
            elif values[-1] in versions[name]:
                reads[name] = versions[name][values[-1]]
        writes: dict[object, int] = {}
        for name, value in work["appends"]:
            if value in versions.get(name, {}):
                writes[name] = versions[name][value]
        if operation.outcome is Outcome.FAIL:
            writes = {}
        covered, merged = frozenset(work.get("covered", ())), frozenset(work.get("merged", ()))
        yield Access(operation, reads, writes, covered, merged)


# -- within ------------------------------------------------------------------------------------


def _lists(operations: Sequence[Operation], final: Mapping[str, Sequence[int]]) -> Lists:
    order: dict[str, Sequence[int]] = dict(final)
    appended: dict[int, Operation] = {}
    for operation in operations:
        for name, values in operation.work["reads"].items():
            if len(values) >= len(order.get(name, ())):
                order[name] = values if name not in final else order[name]
        for _, value in operation.work["appends"]:
            assert value not in appended, "a workload appends each number once"
            appended[value] = operation
    return Lists(order, appended)


def _versions(order: Sequence[int], appended: Mapping[int, Operation]) -> dict[int, int]:
    """For each number, the version that its transaction made."""
    versions: dict[int, int] = {}
    version, last = 0, None
    for value in order:
        writer = appended.get(value)
        if writer is None or writer is not last:
            version += 1
        versions[value], last = version, writer
    return versions


def _order(operations: Sequence[Operation], lists: Lists, final: Mapping[str, Sequence[int]]) -> Iterator[Anomaly]:
    for name, order in lists.order.items():
        if len(set(order)) != len(order):
            yield Anomaly("doubled append", f"list {name} holds a number twice: {_short(order)}")
    for operation in operations:
        for name, values in operation.work["reads"].items():
            order = lists.order[name]
            if list(values) != list(order[: len(values)]):
                text = f"{operation.id} read list {name} as {_short(values)}, which is not how {_short(order)} began"
                yield Anomaly("incompatible order", text, (operation.id,))


def _contents(operations: Sequence[Operation], lists: Lists) -> Iterator[Anomaly]:
    ends = _ends(operations)
    for operation in operations:
        for name, values in operation.work["reads"].items():
            for value in values:
                writer = lists.appended.get(value)
                if writer is None:
                    yield Anomaly("garbage", f"{operation.id} read {value}, which nobody appended", (operation.id,))
                elif writer.outcome is Outcome.FAIL:
                    text = f"{operation.id} read {value} of {writer.id}, which failed"
                    yield Anomaly("G1a", text, (operation.id, writer.id))
            yield from _intermediate(operation, name, values, lists, ends)


def _intermediate(
    operation: Operation, name: str, values: Sequence[int], lists: Lists, ends: Mapping[tuple[str, str], int]
) -> Iterator[Anomaly]:
    writer = lists.appended.get(values[-1]) if values else None
    if writer is not None and writer is not operation and ends.get((writer.id, name), values[-1]) != values[-1]:
        text = f"{operation.id} read list {name} in the middle of what {writer.id} appended to it"
        yield Anomaly("G1b", text, (operation.id, writer.id))


def _ends(operations: Iterable[Operation]) -> dict[tuple[str, str], int]:
    """The last number that each operation appended to each list."""
    return {(each.id, name): value for each in operations for name, value in each.work["appends"]}


def _lost(operations: Iterable[Operation], final: Mapping[str, Sequence[int]]) -> Iterator[Anomaly]:
    kept = {name: frozenset(values) for name, values in final.items()}
    for operation in operations:
        for name, value in operation.work["appends"]:
            there = value in kept.get(name, ())
            if operation.outcome is Outcome.OK and not there:
                text = f"{operation.id} was acknowledged, and {value} is not in list {name} in the end"
                yield Anomaly("lost append", text, (operation.id,))
            if operation.outcome is Outcome.FAIL and there:
                text = f"{operation.id} failed, and {value} is in list {name} in the end"
                yield Anomaly("failed append is there", text, (operation.id,))


def _short(values: Sequence[Any]) -> str:
    return str(list(values)) if len(values) <= 8 else f"[{values[0]}, ... {values[-2]}, {values[-1]}]"
