"""Directed graphs whose edges say why, and the cycles in them.

Pure. Tarjan's search without recursion, so that a history of 100,000 transactions does not end at Python's limit.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field

#: A shortest cycle of a component is looked for from so many of its nodes: any cycle proves the anomaly, a short one
#: is easier to read.
_STARTS_MAX = 64


@dataclass(frozen=True, slots=True)
class Edge:
    source: int
    target: int
    kind: str
    why: str = ""


@dataclass(slots=True)
class Graph:
    edges: dict[int, list[Edge]] = field(default_factory=dict)

    def add(self, edge: Edge) -> None:
        self.edges.setdefault(edge.source, []).append(edge)
        self.edges.setdefault(edge.target, [])

    def from_(self, node: int, kinds: Collection[str]) -> Iterator[Edge]:
        return (edge for edge in self.edges.get(node, ()) if edge.kind in kinds)

    def components(self, kinds: Collection[str]) -> list[list[int]]:
        """Sets of more than one node, each of which reaches all others of its set over edges of these kinds."""
        order: dict[int, int] = {}
        low: dict[int, int] = {}
        waiting: list[int] = []
        waits: set[int] = set()
        found: list[list[int]] = []
        for root in self.edges:
            if root in order:
                continue
            path: list[tuple[int, Iterator[Edge]]] = []
            _enter(root, order, low, waiting, waits)
            path.append((root, self.from_(root, kinds)))
            while path:
                node, following = path[-1]
                edge = next(following, None)
                if edge is None:
                    path.pop()
                    if path:
                        low[path[-1][0]] = min(low[path[-1][0]], low[node])
                    if low[node] == order[node]:
                        component = _leave(node, waiting, waits)
                        if len(component) > 1:
                            found.append(component)
                elif edge.target not in order:
                    _enter(edge.target, order, low, waiting, waits)
                    path.append((edge.target, self.from_(edge.target, kinds)))
                elif edge.target in waits:
                    low[node] = min(low[node], order[edge.target])
        return found

    def cycle(self, component: Collection[int], kinds: Collection[str], costly: str) -> list[Edge]:
        """A cycle in a component with few edges of the kind ``costly``, and short among those."""
        inside = frozenset(component)
        found = [self._through(start, inside, kinds, costly) for start in sorted(inside)[:_STARTS_MAX]]
        return min(found, key=lambda cycle: (sum(edge.kind == costly for edge in cycle), len(cycle)))

    def _through(self, start: int, inside: frozenset[int], kinds: Collection[str], costly: str) -> list[Edge]:
        """The cheapest way from ``start`` back to it: edges of the kind ``costly`` cost one, others nothing."""
        came: dict[int, Edge] = {}
        waiting: deque[int] = deque([start])
        later: list[Edge] = []
        while waiting or later:
            while waiting:
                for edge in self.from_(waiting.popleft(), kinds):
                    if edge.target not in inside or edge.target in came:
                        continue
                    if edge.kind == costly:
                        later.append(edge)
                        continue
                    came[edge.target] = edge
                    if edge.target == start:
                        return _back(start, came)
                    waiting.append(edge.target)
            fresh = [edge for edge in later if edge.target not in came]
            later = []
            for edge in fresh:
                if edge.target not in came:
                    came[edge.target] = edge
                    waiting.append(edge.target)
            if start in came:
                return _back(start, came)
        raise AssertionError("in a component everybody reaches everybody")


def _enter(node: int, order: dict[int, int], low: dict[int, int], waiting: list[int], waits: set[int]) -> None:
    order[node] = low[node] = len(order)
    waiting.append(node)
    waits.add(node)


def _leave(node: int, waiting: list[int], waits: set[int]) -> list[int]:
    component = []
    while True:
        taken = waiting.pop()
        waits.discard(taken)
        component.append(taken)
        if taken == node:
            return component


def _back(start: int, came: dict[int, Edge]) -> list[Edge]:
    cycle = [came[start]]
    while cycle[-1].source != start:
        cycle.append(came[cycle[-1].source])
    return cycle[::-1]
