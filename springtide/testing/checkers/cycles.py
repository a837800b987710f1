"""Is there an order of events that explains what all transactions saw of each other?

Pure. After Adya ("Weak Consistency", 1999), Elle (VLDB 2020), and Cerone and Gotsman on snapshot isolation (2018).

A transaction is two events: it **starts** (its snapshot is taken) and it **commits**. What was seen says which event
came before which:

* ``ww`` T wrote the version before U's: T committed before U started, because a write on an old revision conflicts
  (only before U committed, where the class resolves conflicts);
* ``wr`` U read what T wrote: T committed before U started;
* ``rw`` T read the version before U's: T **started** before U committed. Where T checked with ``readCurrent`` that what
  it read is still so at its end, T **committed** before U committed;
* ``process`` T ended before U of the same client began: what T saw and committed, U sees;
* ``realtime`` T ended before U of anybody began: U commits after all that T saw and committed, and sees it if U is
  strict.

A cycle of such statements has no explanation, and is an anomaly. This is exactly what ZODB promises: **snapshot
isolation**, and **serializability over what is covered by readCurrent**. Forbidden are

* G0, a cycle of ww; G1c, of ww and wr; G-single, with one rw (a torn snapshot, a lost update);
* G2, with several rw, wherever no two of them that follow each other meet in a transaction that did not check its read;
* each of them with process or realtime edges too (named ``-process``, ``-realtime``).

Allowed is a cycle in which two rw meet in such a transaction: it did not commit before it started, so the chain breaks
there. That is write skew, which ``Level.SERIALIZABLE`` finds as well: it takes every read as checked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

from springtide.testing.checkers.anomaly import Anomaly
from springtide.testing.checkers.graphs import Edge, Graph
from springtide.testing.checkers.history import Operation, Outcome


class Level(Enum):
    SNAPSHOT = 1
    SERIALIZABLE = 2


@dataclass(frozen=True, slots=True)
class Access:
    """What one operation did to versions of things. A thing has versions 0 (as it was set up), 1, 2...

    ``covered`` names things whose read is checked at commit, ``merged`` those whose write is made anew on
    whatever is committed.
    """

    operation: Operation
    reads: Mapping[object, int] = field(default_factory=dict)
    writes: Mapping[object, int] = field(default_factory=dict)
    covered: frozenset[object] = frozenset()
    merged: frozenset[object] = frozenset()


#: Looked at one after the other: what is found with few kinds is told without the others.
_LAYERS = (
    (("ww",), ""),
    (("ww", "wr"), ""),
    (("ww", "wr", "rw"), ""),
    (("ww", "wr", "rw", "process"), "-process"),
    (("ww", "wr", "rw", "process", "realtime"), "-realtime"),
)
_WITHIN = "within"  # a transaction starts before it commits


def check_cycles(accesses: Sequence[Access], level: Level = Level.SNAPSHOT) -> list[Anomaly]:
    """One anomaly for each knot of transactions that no order explains."""
    graph = _graph(accesses, level)
    names = [access.operation.id for access in accesses]
    found: list[Anomaly] = []
    known: set[int] = set()
    for kinds, suffix in _LAYERS:
        followed = frozenset((*kinds, _WITHIN))
        for component in graph.components(followed):
            if known.isdisjoint(component):
                known.update(component)
                found.append(_told(graph.cycle(component, followed, "rw"), names, suffix))
    return found


def _start(index: int) -> int:
    return 2 * index


def _commit(index: int) -> int:
    return 2 * index + 1


def _graph(accesses: Sequence[Access], level: Level) -> Graph:
    graph = Graph()
    for index, _ in enumerate(accesses):
        graph.add(Edge(_start(index), _commit(index), _WITHIN))
    for edge in (*_dependencies(accesses, level), *_times(accesses)):
        graph.add(edge)
    return graph


def _dependencies(accesses: Sequence[Access], level: Level) -> Iterator[Edge]:
    writers = {(thing, version): index for index, a in enumerate(accesses) for thing, version in a.writes.items()}
    for index, access in enumerate(accesses):
        for thing, version in access.writes.items():
            before = writers.get((thing, version - 1))
            if before is not None:
                after = _commit(index) if thing in access.merged else _start(index)
                yield Edge(_commit(before), after, "ww", f"version {version} of {thing}")
        came_through = access.operation.outcome is not Outcome.FAIL
        for thing, version in access.reads.items():
            writer = writers.get((thing, version))
            if writer is not None and writer != index:
                yield Edge(_commit(writer), _start(index), "wr", f"version {version} of {thing}")
            follower = writers.get((thing, version + 1))
            if follower is not None and follower != index:
                checked = came_through and (thing in access.covered or level is Level.SERIALIZABLE)
                before = _commit(index) if checked else _start(index)
                yield Edge(before, _commit(follower), "rw", f"version {version} of {thing}")


def _times(accesses: Sequence[Access]) -> Iterator[Edge]:
    """Who ended before whom began, by way of a chain of moments: one for all, and one for each client."""
    events = sorted(
        [(a.operation.invoked, 0, index) for index, a in enumerate(accesses)]
        + [(a.operation.ended, 1, index) for index, a in enumerate(accesses) if a.operation.ended is not None]
    )
    moments = 2 * len(accesses)
    newest: dict[str, int] = {}  # the last moment of each chain; "" is everybody's
    for _, ending, index in events:
        access = accesses[index]
        committed = access.operation.outcome is Outcome.OK and bool(access.writes)
        for chain, kind in ((access.operation.client, "process"), ("", "realtime")):
            if ending:
                moments += 1
                if chain in newest:
                    yield Edge(newest[chain], moments, kind)
                newest[chain] = moments
                yield Edge(_start(index), moments, kind)
                if committed:
                    yield Edge(_commit(index), moments, kind)
            elif chain in newest:
                if kind == "process" or access.operation.strict:
                    yield Edge(newest[chain], _start(index), kind)
                if kind == "realtime" and access.writes:
                    yield Edge(newest[chain], _commit(index), kind)


def _told(cycle: Sequence[Edge], names: Sequence[str], suffix: str) -> Anomaly:
    kinds = [edge.kind for edge in cycle]
    dependencies = {*kinds} - {_WITHIN, "process", "realtime"}
    if "rw" in dependencies:
        name = "G-single" if kinds.count("rw") == 1 else "G2"
    else:
        name = "G1c" if "wr" in dependencies else "G0"
    told = [_said(edge, names) for edge in cycle]
    operations = {names[node // 2] for edge in cycle for node in (edge.source, edge.target) if node < 2 * len(names)}
    return Anomaly(name + suffix, ", ".join(each for each in told if each), tuple(sorted(operations)))


def _said(edge: Edge, names: Sequence[str]) -> str:
    if edge.kind == _WITHIN:
        return ""
    source, target = (names[node // 2] if node < 2 * len(names) else "" for node in (edge.source, edge.target))
    if edge.kind in ("process", "realtime"):
        return f"{source} ended" if source else f"and then {target} began" if target else ""
    return f"{source} -{edge.kind}-> {target} ({edge.why})"
