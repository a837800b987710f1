"""Settings as a configuration file says them."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping


def to_toml(settings: Mapping[str, object], table: str = "") -> str:
    """``settings`` as TOML. JSON writes strings, numbers, booleans and lists as TOML does."""
    plain = {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    lines = [f"{_key(key)} = {json.dumps(value)}\n" for key, value in plain.items()]
    text = (f"[{table}]\n" if table and plain else "") + "".join(lines)
    for key, value in tables.items():
        text += "\n" + to_toml(value, f"{table}.{_key(key)}" if table else _key(key))
    return text


def _key(name: str) -> str:
    """A dot would begin a table."""
    return name if re.fullmatch("[A-Za-z0-9_-]+", name) else json.dumps(name)
