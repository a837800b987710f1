"""What is wrong with a configuration, in one sentence that says what to do."""

from __future__ import annotations

import difflib
import os
from typing import Any, get_args

from pydantic import BaseModel, ValidationError


class At(ValueError):
    """A check of several settings together, told at the one to change."""

    def __init__(self, key: str, message: str) -> None:
        super().__init__(message)
        self.key = key


_EXPECTED = {
    "string_type": "a string",
    "int_type": "a whole number",
    "int_parsing": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "bool_type": "true or false",
    "bool_parsing": "true or false",
    "tuple_type": "a list of strings",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "dict_type": "a table",
    "path_type": "a path",
    "byte_size": 'a number of bytes, such as 1048576 or "1 MiB"',
    "byte_size_unit": 'a number of bytes, such as 1048576 or "1 MiB"',
}


def sentence(where: str, prefix: str, model: type[BaseModel], error: ValidationError) -> str:
    """The first thing that is wrong with the settings read from ``where``, and what to do."""
    problems = error.errors()
    # An unknown key explains a missing one better than the other way round.
    first = min(problems, key=lambda problem: problem["type"] != "extra_forbidden")
    cause = first.get("ctx", {}).get("error")
    loc = (cause.key,) if isinstance(cause, At) else tuple(part for part in first["loc"] if isinstance(part, str))
    variable = prefix + "__".join(loc).upper()
    place = f"the environment variable {variable}" if variable in os.environ else f"{where}: the setting {_dotted(loc)}"
    more = len(problems) - 1
    return f"{place} {_wrong(first, loc, cause, model)}" + (f" (and {more} more)" if more else "")


def _dotted(loc: tuple[str, ...]) -> str:
    return f'"{".".join(loc)}"'


def _wrong(problem: Any, loc: tuple[str, ...], cause: object, model: type[BaseModel]) -> str:
    kind, value = problem["type"], problem["input"]
    match kind:
        case "missing":
            return f"is missing; add it ({_HELP.get(loc[-1], 'see deploy/ for examples')})"
        case "extra_forbidden":
            near = difflib.get_close_matches(loc[-1], _known(model, loc[:-1]), n=1)
            return "is not known; " + (
                f'did you mean "{near[0]}"?' if near else "remove it, or check its spelling and table"
            )
        case "too_short":
            return "is an empty list; name at least one"
        case "greater_than" | "greater_than_equal" | "less_than" | "less_than_equal":
            words = {"gt": "more than", "ge": "at least", "le": "at most", "lt": "less than"}
            (bound,) = (f"{words[key]} {_plain(limit)}" for key, limit in problem["ctx"].items() if key in words)
            return f"must be {bound}, not {value!r}"
        case _ if kind in _EXPECTED:
            return f"must be {_EXPECTED[kind]}, not {value!r}"
        case "value_error":
            return str(cause)
    return f"is wrong: {problem['msg']}"


_HELP = {
    "node": 'this node\'s id, as in node = "a"',
    "bind": 'the address to listen on, as in bind = "127.0.0.1:7101"',
    "data": 'the directory for its files, as in data = "/var/lib/springtide"',
    "coordinator": 'a table: embedded = "host:port", or [coordinator.etcd], or inside = true',
    "endpoints": 'as in endpoints = ["127.0.0.1:2379"]',
    "cert": "a [tls] table needs cert, key and ca",
    "key": "a [tls] table needs cert, key and ca",
    "ca": "a [tls] table needs cert, key and ca",
}


def _known(model: type[BaseModel], table: tuple[str, ...]) -> list[str]:
    """The keys of a table, named by the path that leads to it."""
    for key in table:
        field = model.model_fields.get(key)
        kinds = () if field is None else (field.annotation, *get_args(field.annotation))
        tables = [kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)]
        if not tables:
            return []
        model = tables[0]
    return list(model.model_fields)


def _plain(limit: float) -> str:
    return str(int(limit)) if limit == int(limit) else str(limit)
