"""``springtide node``."""

from __future__ import annotations

from pathlib import Path

import click

from springtide.node import config as configuration


def run(config: Path | None, standalone: Path | None, bind: str | None, advertise: str | None, insecure: bool) -> int:
    if (config is None) == (standalone is None):
        raise click.UsageError("say either --config FILE or --standalone DIR")
    if config is not None:
        settings = configuration.load(config, {"bind": bind, "advertise": advertise, "insecure": insecure or None})
    else:
        assert standalone is not None
        bind = bind or configuration.STANDALONE_BIND
        settings = configuration.standalone(standalone.resolve(), bind, insecure, advertise)

    from springtide.node import node

    return node.run(settings)
