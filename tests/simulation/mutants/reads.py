"""Reads that show too much, too little, or the past."""

from __future__ import annotations

from contextvars import ContextVar
from typing import Any

from springtide.node.core import NodeCore
from springtide.primary.commits import Commits
from springtide.primary.leadership import Leadership
from tests.simulation.mutants.planting import Bench, mutant

_CONFIRMING: ContextVar[Any] = ContextVar("confirming", default=None)


def while_confirming(bench: Bench, required: Any) -> None:
    """While a reign is confirmed, its round is over whom ``required`` says, of the leadership and its set."""

    async def confirm(self: Any) -> Any:
        token = _CONFIRMING.set(self)
        try:
            return await original(self)
        finally:
            _CONFIRMING.reset(token)

    def asked(self: Any) -> Any:
        leadership = _CONFIRMING.get()
        return required_(self) if leadership is None else required(leadership, required_(self))

    original = bench.replace(Leadership, "confirm", confirm)
    required_ = bench.replace(Commits, "required", property(asked))


@mutant("27 (R9)", found="^session|saw")
def a_node_answers_below_the_floor(bench: Bench) -> None:
    """A replica that is behind a client answers it all the same."""

    async def until_tid(self: NodeCore, floor: Any, seconds: float) -> None:
        pass

    bench.replace(NodeCore, "until_tid", until_tid)
