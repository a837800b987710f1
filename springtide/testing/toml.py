"""Settings as a configuration file says them."""

from __future__ import annotations

import json
from collections.abc import Mapping


def to_toml(settings: Mapping[str, object], table: str = "") -> str:
    """``settings`` as TOML. JSON writes strings, numbers, booleans and lists as TOML does."""
    plain = {key: value for key, value in settings.items() if not isinstance(value, Mapping)}
    tables = {key: value for key, value in settings.items() if isinstance(value, Mapping)}
    text = (f"[{table}]\n" if table and plain else "") + "".join(f"{k} = {json.dumps(v)}\n" for k, v in plain.items())
    for key, value in tables.items():
        text += "\n" + to_toml(value, f"{table}.{key}" if table else key)
    return text
