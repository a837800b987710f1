"""``springtide pack``: for cron, and whoever used ``zeopack``."""

from __future__ import annotations

import contextlib
import time

import click
from rich.console import Console
from ZODB.serialize import referencesf

from springtide.cli.uri import full
from springtide.client.opening import open_storage
from springtide.node.config_tables import duration


def run(uri: str, keep: str, gc: bool | None) -> int:
    try:
        history = duration(keep)
    except ValueError as error:
        raise click.BadParameter(f"{keep!r} {error}", param_hint="--keep") from None
    assert isinstance(history, float)
    with contextlib.closing(open_storage(full(uri), label="springtide pack")) as storage:
        began = time.monotonic()
        with Console(stderr=True).status(f"packing {uri}"):
            storage.pack(time.time() - history, referencesf, gc)
        print(f"{uri}: packed in {time.monotonic() - began:.1f} s")
    return 0
